#include <algorithm>
#include <string_view>
#include <utility>

#include <troupe/model/sampling/logprobs.h>
#include <troupe/model/training/evaluation.h>
#include <troupe/model/training/text_limits.h>
#include <troupe/runtime/file.h>
#include <troupe/runtime/text/bounded_json.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model {
namespace {

constexpr double kLn2 = 0.69314718055994530942;
// The rows of a scored step, whose logits all lie in memory at once.
constexpr std::size_t kEvaluatedRows = 64;

bool predicts_largest(std::span<const float> logits, TokenId id) {
  const float own = logits[static_cast<std::size_t>(id)];
  for (std::size_t i = 0; i < logits.size(); ++i)
    if (logits[i] > own || (logits[i] == own && i < static_cast<std::size_t>(id))) return false;
  return true;
}

double ratio(std::size_t part, std::size_t whole) {
  return whole == 0 ? 0.0 : static_cast<double>(part) / static_cast<double>(whole);
}

// Returns the number of the choice that a row names; the number of choices if it names none of
// them.
std::size_t answer_of(const nlohmann::json& row, std::size_t choices) {
  const auto found = row.find("answer");
  if (found == row.end()) return choices;
  if (found->is_number_unsigned()) return std::min(found->get<std::size_t>(), choices);
  if (!found->is_string()) return choices;
  const auto text = found->get<std::string>();
  if (text.size() != 1 || text[0] < 'A') return choices;
  return std::min<std::size_t>(static_cast<std::size_t>(text[0] - 'A'), choices);
}

// Reads one line into `rows`; returns why it cannot be used, or "".
std::string read_choice_line(std::string_view line, std::size_t number,
                             std::vector<ChoiceRow>* rows) {
  const Result<nlohmann::json> row = parse_json(line, "the line", kTextLimits);
  if (!row) return "it is not JSON (" + row.message() + ")";
  if (!row->is_object()) return "it is JSON, but not an object";
  ChoiceRow read;
  read.line = number;
  if (!row->contains("prompt") || !(*row)["prompt"].is_string())
    return "it has no text in the field \"prompt\"";
  read.prompt = (*row)["prompt"].get<std::string>();
  const auto choices = row->find("choices");
  if (choices == row->end() || !choices->is_array() || choices->size() < 2)
    return "its field \"choices\" is not a list of two or more texts";
  for (const nlohmann::json& choice : *choices) {
    if (!choice.is_string() || choice.get<std::string>().empty())
      return "its field \"choices\" holds something that is not text";
    read.choices.push_back(choice.get<std::string>());
  }
  read.answer = answer_of(*row, read.choices.size());
  if (read.answer == read.choices.size())
    return "its field \"answer\" is neither the number of a choice, from 0 to " +
           std::to_string(read.choices.size() - 1) + ", nor its letter";
  rows->push_back(std::move(read));
  return "";
}

}  // namespace

void TokenScore::add(const TokenScore& other) {
  nll += other.nll;
  tokens += other.tokens;
  hits += other.hits;
  bytes += other.bytes;
}

double TokenScore::bits_per_byte() const {
  return bytes == 0 ? 0.0 : nll / kLn2 / static_cast<double>(bytes);
}

Result<TokenScore> score_example(Stage& whole_model, const Example& example,
                                 const Tokenizer& tokenizer) {
  const auto sequence = whole_model.new_sequence();
  const std::size_t vocabulary = whole_model.config().vocabulary;
  const std::span<const TokenId> ids = example.ids;
  std::size_t end = ids.size();  // nothing after the last position with a target is computed
  while (end > 0 && example.targets[end - 1] == kNoTarget) --end;
  TokenScore score;
  StepOutput output;
  for (std::size_t begin = 0; begin < end; begin += kEvaluatedRows) {
    const std::size_t count = std::min(kEvaluatedRows, end - begin);
    const auto targets = std::span(example.targets).subspan(begin, count);
    const bool any =
        std::any_of(targets.begin(), targets.end(), [](TokenId id) { return id != kNoTarget; });
    const Segment segment{sequence.get(), begin, count, any ? LogitRows::kAll : LogitRows::kNone};
    TROUPE_RETURN_IF_ERROR(
        whole_model.forward({{&segment, 1}, ids.subspan(begin, count), {}}, &output));
    for (std::size_t row = 0; row < count; ++row) {
      if (targets[row] == kNoTarget) continue;
      const auto logits =
          std::span<const float>(output.logits).subspan(row * vocabulary, vocabulary);
      score.nll -= static_cast<double>(log_probability(logits, targets[row]));
      score.hits += predicts_largest(logits, targets[row]) ? 1 : 0;
      ++score.tokens;
      TROUPE_ASSIGN_OR_RETURN(const std::string piece,
                              tokenizer.piece(targets[row], /*with_special=*/false));
      score.bytes += piece.size();
    }
  }
  return score;
}

std::size_t Confusion::rows() const {
  std::size_t sum = 0;
  for (std::size_t label = 0; label < counts_.size(); ++label) sum += rows_of(label);
  return sum;
}

std::size_t Confusion::right() const {
  std::size_t sum = 0;
  for (std::size_t label = 0; label < counts_.size(); ++label) sum += counts_[label][label];
  return sum;
}

std::size_t Confusion::rows_of(std::size_t label) const {
  std::size_t sum = 0;
  for (const std::size_t count : counts_[label]) sum += count;
  return sum;
}

std::size_t Confusion::answers_of(std::size_t label) const {
  std::size_t sum = 0;
  for (const auto& answers : counts_) sum += answers[label];
  return sum;
}

double Confusion::precision(std::size_t label) const {
  return ratio(counts_[label][label], answers_of(label));
}
double Confusion::recall(std::size_t label) const {
  return ratio(counts_[label][label], rows_of(label));
}
double Confusion::f1(std::size_t label) const {
  return ratio(2 * counts_[label][label], rows_of(label) + answers_of(label));
}

double Confusion::micro_f1(std::size_t outside) const {
  std::size_t hits = 0, all = 0;
  for (std::size_t label = 0; label < counts_.size(); ++label) {
    if (label == outside) continue;
    hits += counts_[label][label];
    all += rows_of(label) + answers_of(label);
  }
  return ratio(2 * hits, all);
}

double Confusion::macro_f1(std::size_t outside) const {
  double sum = 0.0;
  std::size_t labels = 0;
  for (std::size_t label = 0; label < counts_.size(); ++label) {
    if (label == outside) continue;
    if (rows_of(label) + answers_of(label) == 0) continue;
    sum += f1(label);
    ++labels;
  }
  return labels == 0 ? 0.0 : sum / static_cast<double>(labels);
}

void EntityScore::add(const std::vector<std::string>& labels,
                      const std::vector<std::string>& answers) {
  const std::vector<WordSpan> wanted = entities_of(labels), given = entities_of(answers);
  entities += wanted.size();
  found += given.size();
  for (const WordSpan& span : given)
    right += std::find(wanted.begin(), wanted.end(), span) != wanted.end() ? 1 : 0;
}
double EntityScore::precision() const { return ratio(right, found); }
double EntityScore::recall() const { return ratio(right, entities); }
double EntityScore::f1() const { return ratio(2 * right, entities + found); }

Result<ChoiceRows> read_choice_rows(const std::filesystem::path& path) {
  TROUPE_ASSIGN_OR_RETURN(const std::string text, read_data_text(path));
  ChoiceRows out;
  for (const auto& [number, line] : lines_of(text)) {
    std::string why = read_choice_line(line, number, &out.rows);
    if (!why.empty()) out.dropped.push_back({number, std::move(why)});
  }
  if (!out.rows.empty()) return out;
  return Status(Code::kBadData,
                path.string() + (out.dropped.empty()
                                     ? " is empty; give a file with rows"
                                     : " has no row that can be used" + why_none(out.dropped)));
}

Result<Example> choice_example(const ChoiceRow& row, std::size_t choice,
                               const Tokenizer& tokenizer) {
  const EncodeOptions plain{.parse_special = false};
  TROUPE_ASSIGN_OR_RETURN(const std::vector<TokenId> prompt, tokenizer.encode(row.prompt, plain));
  Example example;
  TROUPE_ASSIGN_OR_RETURN(example.ids, tokenizer.encode(row.prompt + row.choices[choice], plain));
  const auto differ =
      std::mismatch(example.ids.begin(), example.ids.end(), prompt.begin(), prompt.end());
  const auto first = static_cast<std::size_t>(differ.first - example.ids.begin());
  if (first == 0 || first == example.ids.size())
    return Status(Code::kBadData, "line " + std::to_string(row.line) + ": choice " +
                                      std::to_string(choice) +
                                      (first == 0 ? " has no token of the prompt before it"
                                                  : " adds no token to the prompt"));
  example.targets.assign(example.ids.size(), kNoTarget);
  for (std::size_t i = first; i < example.ids.size(); ++i) example.targets[i - 1] = example.ids[i];
  return example;
}

}  // namespace troupe::model
