#include <algorithm>
#include <numeric>
#include <span>
#include <utility>

#include <troupe/model/tokenizer/around.h>
#include <troupe/model/training/dataset.h>
#include <troupe/runtime/numerics/philox.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model {
namespace {

// What tells the draws of the order apart from other draws of the same seed.
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

// Counter-based: draw i of an epoch decides what is at place i - 1.
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
    bool truncated = false;
    Example example;
    TROUPE_ASSIGN_OR_RETURN(example.ids, encode_text(row.text, tokenizer, options, &truncated));
    if (example.ids.empty() || (truncated && options.truncation == Truncation::kDrop)) {
      dataset.dropped.push_back(
          {row.line, truncated
                         ? "it is longer than " + std::to_string(options.length_max) + " tokens"
                         : "it has no tokens"});
      continue;
    }
    dataset.truncated += truncated ? 1 : 0;
    example.label = static_cast<std::size_t>(label - dataset.labels.begin());
    dataset.examples.push_back(std::move(example));
  }
  if (dataset.examples.empty())
    return Status(Code::kBadData, "no row is left to train on: all " +
                                      std::to_string(rows.rows.size()) + " were left out");
  return dataset;
}

std::vector<std::size_t> epoch_order(std::size_t count, bool is_shuffled, std::uint64_t seed,
                                     std::uint64_t epoch) {
  if (is_shuffled) return shuffled(count, seed, epoch, kOrderChoice);
  std::vector<std::size_t> order(count);
  std::iota(order.begin(), order.end(), std::size_t{0});
  return order;
}

}  // namespace troupe::model
