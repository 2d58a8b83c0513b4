#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>
#include <optional>
#include <span>
#include <utility>

#include <troupe/model/tokenizer/around.h>
#include <troupe/model/training/dataset.h>
#include <troupe/runtime/numerics/philox.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model {
namespace {

// A number that separates the draws of the order from other draws of the same seed.
constexpr std::uint32_t kOrderChoice = 0x6f726472, kSplitChoice = 0x73706c74;

void add_windows(std::span<const TokenId> ids, std::size_t length_max, Dataset* dataset) {
  for (std::size_t first = 0; first + 1 < ids.size(); first += length_max) {
    const std::span<const TokenId> window =
        ids.subspan(first, std::min(length_max, ids.size() - first));
    if (window.size() < 2) break;  // nothing to predict
    Example example;
    example.ids.assign(window.begin(), window.end());
    example.targets.assign(window.begin() + 1, window.end());
    example.targets.push_back(kNoTarget);
    dataset->examples.push_back(std::move(example));
  }
}

// Shuffles by counter-based draws: draw i of an epoch decides what is at place i - 1.
std::vector<std::size_t> shuffled(std::size_t count, std::uint64_t seed, std::uint64_t epoch,
                                  std::uint32_t choice) {
  std::vector<std::size_t> order(count);
  std::iota(order.begin(), order.end(), std::size_t{0});
  for (std::size_t i = count; i > 1; --i) {
    const double draw = uniform_draw(seed, (epoch << 40) + i, choice);
    std::swap(order[i - 1], order[static_cast<std::size_t>(draw * static_cast<double>(i))]);
  }
  return order;
}

// Returns the finite number for which the whole text stands; nothing if it is not a number.
std::optional<float> finite_number(const std::string& text) {
  double value = 0.0;
  const char* const end = text.data() + text.size();
  const auto read = std::from_chars(text.data(), end, value);
  if (read.ec != std::errc() || read.ptr != end || !(std::abs(value) <= 1e30)) return std::nullopt;
  return static_cast<float>(value);
}

std::string listed(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + in_quotes(name, 40);
  return text;
}

}  // namespace

std::vector<std::string> label_names_of(const DataRows& rows) {
  std::vector<std::string> labels;
  for (const DataRow& row : rows.rows) labels.push_back(row.label);
  std::sort(labels.begin(), labels.end());
  labels.erase(std::unique(labels.begin(), labels.end()), labels.end());
  return labels;
}

std::vector<bool> draw_validation_rows(std::size_t count, double fraction, std::uint64_t seed) {
  std::vector<bool> drawn(count);
  if (count < 2) return drawn;
  const auto wanted = static_cast<std::size_t>(static_cast<double>(count) * fraction + 0.5);
  const std::vector<std::size_t> order = shuffled(count, seed, 0, kSplitChoice);
  for (std::size_t i = 0; i < std::clamp<std::size_t>(wanted, 1, count - 1); ++i)
    drawn[order[i]] = true;
  return drawn;
}

Result<Dataset> language_dataset(const DataRows& rows, const Tokenizer& tokenizer,
                                 const DatasetOptions& options) {
  Dataset dataset;
  dataset.dropped = rows.dropped;
  for (const DataRow& row : rows.rows) {
    // Text is data: markup in it stays plain text.
    TROUPE_ASSIGN_OR_RETURN(const std::vector<TokenId> ids,
                            tokenizer.encode(row.text, {.parse_special = false}));
    if (ids.size() < 2) {
      dataset.dropped.push_back({row.line, "it has fewer than two tokens"});
      continue;
    }
    add_windows(ids, options.length_max, &dataset);
  }
  if (dataset.examples.empty())
    return Status(Code::kBadData, "no row has two tokens, so there is nothing to predict");
  return dataset;
}

Result<std::vector<TokenId>> encode_text(const std::string& text, const Tokenizer& tokenizer,
                                         const DatasetOptions& options, bool* truncated) {
  TROUPE_ASSIGN_OR_RETURN(std::vector<TokenId> ids,
                          tokenizer.encode(text, {.parse_special = false}));
  *truncated = ids.size() > options.length_max;
  if (!*truncated) return ids;
  TROUPE_ASSIGN_OR_RETURN(const TokensAround around, tokens_around(tokenizer));
  const std::size_t front = around.before.size(), behind = around.after.size();
  if (options.length_max < front + behind + 1)
    return Status(Code::kInvalidArgument,
                  "--max-length is " + std::to_string(options.length_max) +
                      ", which leaves no room for text beside the model's own tokens");
  const std::size_t surplus = ids.size() - options.length_max;
  const auto first = options.truncation == Truncation::kLeft
                         ? ids.begin() + static_cast<std::ptrdiff_t>(front)
                         : ids.end() - static_cast<std::ptrdiff_t>(behind + surplus);
  ids.erase(first, first + static_cast<std::ptrdiff_t>(surplus));
  return ids;
}

namespace {

// Adds `example`, which has its target already, with the ids of the row's text; or else the reason
// why the row is left out.
Status add_row(const DataRow& row, const Tokenizer& tokenizer, const DatasetOptions& options,
               Example example, Dataset* dataset) {
  bool truncated = false;
  TROUPE_ASSIGN_OR_RETURN(example.ids, encode_text(row.text, tokenizer, options, &truncated));
  if (example.ids.empty() || (truncated && options.truncation == Truncation::kDrop)) {
    dataset->dropped.push_back(
        {row.line, truncated ? "it is longer than " + std::to_string(options.length_max) + " tokens"
                             : "it has no tokens"});
    return Status::ok();
  }
  dataset->truncated += truncated ? 1 : 0;
  dataset->examples.push_back(std::move(example));
  return Status::ok();
}

}  // namespace

Result<Dataset> classification_dataset(const DataRows& rows, const Tokenizer& tokenizer,
                                       const DatasetOptions& options,
                                       std::vector<std::string> labels) {
  Dataset dataset;
  dataset.dropped = rows.dropped;
  dataset.labels = labels.empty() ? label_names_of(rows) : std::move(labels);
  if (dataset.labels.size() < 2)
    return Status(Code::kBadData, "all " + std::to_string(rows.rows.size()) +
                                      " rows have the label " + listed(dataset.labels) +
                                      "; a classifier needs at least two labels");
  for (const DataRow& row : rows.rows) {
    const auto label = std::find(dataset.labels.begin(), dataset.labels.end(), row.label);
    if (label == dataset.labels.end())
      return Status(Code::kBadData, "line " + std::to_string(row.line) + " has the label " +
                                        in_quotes(row.label, 40) + ", which is none of " +
                                        listed(dataset.labels));
    Example example;
    example.label = static_cast<std::size_t>(label - dataset.labels.begin());
    TROUPE_RETURN_IF_ERROR(add_row(row, tokenizer, options, std::move(example), &dataset));
  }
  if (dataset.examples.empty())
    return Status(Code::kBadData, "no row is left to train on: all " +
                                      std::to_string(rows.rows.size()) + " were left out");
  return dataset;
}

Result<Dataset> regression_dataset(const DataRows& rows, const Tokenizer& tokenizer,
                                   const DatasetOptions& options, const std::string& name) {
  Dataset dataset;
  dataset.dropped = rows.dropped;
  dataset.labels = {name};
  for (const DataRow& row : rows.rows) {
    const std::optional<float> value = finite_number(row.label);
    if (!value) {
      dataset.dropped.push_back({row.line, in_quotes(row.label, 40) + " is not a number"});
      continue;
    }
    Example example;
    example.value = *value;
    TROUPE_RETURN_IF_ERROR(add_row(row, tokenizer, options, std::move(example), &dataset));
  }
  if (dataset.examples.empty())
    return Status(
        Code::kBadData,
        "no row has a text and a number" +
            (dataset.dropped.empty() ? std::string()
                                     : ": of line " + std::to_string(dataset.dropped[0].line) +
                                           ", " + dataset.dropped[0].why));
  return dataset;
}

Result<std::vector<float>> class_weights(const std::string& text, const Dataset& dataset) {
  const auto bad = [](const std::string& what) {
    return Status(Code::kInvalidArgument, "--class-weights: " + what);
  };
  std::vector<float> weights;
  if (text.empty()) return weights;
  const std::size_t classes = dataset.labels.size();
  if (text == "balanced") {
    std::vector<std::size_t> counts(classes);
    std::size_t all = 0;
    const auto count = [&](std::size_t label) { ++counts[label], ++all; };
    for (const Example& example : dataset.examples) {
      if (example.targets.empty()) count(example.label);
      for (const TokenId target : example.targets)
        if (target != kNoTarget) count(static_cast<std::size_t>(target));
    }
    for (std::size_t i = 0; i < classes; ++i) {
      if (counts[i] == 0)
        return bad("no example that is trained has the label " + in_quotes(dataset.labels[i], 40) +
                   ", so its weight cannot be balanced");
      weights.push_back(
          static_cast<float>(static_cast<double>(all) /
                             (static_cast<double>(classes) * static_cast<double>(counts[i]))));
    }
    return weights;
  }
  weights.assign(classes, 1.0f);
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t end = std::min(text.find(',', at), text.size());
    const std::string part = text.substr(at, end - at);
    at = end + 1;
    const std::size_t equals = part.rfind('=');
    const std::optional<float> weight =
        equals == part.npos ? std::nullopt : finite_number(part.substr(equals + 1));
    if (!weight || !(*weight > 0.0f))
      return bad(in_quotes(part, 60) + " is not NAME=WEIGHT with a weight above 0");
    const auto label =
        std::find(dataset.labels.begin(), dataset.labels.end(), part.substr(0, equals));
    if (label == dataset.labels.end())
      return bad(in_quotes(part.substr(0, equals), 40) + " is none of " + listed(dataset.labels));
    weights[static_cast<std::size_t>(label - dataset.labels.begin())] = *weight;
  }
  return weights;
}

std::vector<std::size_t> epoch_order(std::size_t count, bool is_shuffled, std::uint64_t seed,
                                     std::uint64_t epoch) {
  if (is_shuffled) return shuffled(count, seed, epoch, kOrderChoice);
  std::vector<std::size_t> order(count);
  std::iota(order.begin(), order.end(), std::size_t{0});
  return order;
}

}  // namespace troupe::model
