#include <algorithm>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>

#include <troupe/model/training/text_limits.h>
#include <troupe/model/training/token_rows.h>
#include <troupe/runtime/text/bounded_json.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model {
namespace {

constexpr std::int64_t kNoTag = -100;  // as PyTorch's ignore_index
constexpr std::int64_t kTagMax = 65535;
constexpr const char* kOutside = "O";

Status bad_token_row(const std::string& why) { return Status(Code::kBadData, why); }

std::string numbered_label(std::size_t number) { return "LABEL_" + std::to_string(number); }

// Reads the list of tags beside a list of tokens.
Status read_tags(const nlohmann::json& list, const std::string& field, TokenRow* row) {
  std::size_t names = 0, numbers = 0;
  for (const nlohmann::json& tag : list) {
    if (tag.is_null() || (tag.is_number_integer() && tag.get<std::int64_t>() == kNoTag)) {
      row->tags.emplace_back();
    } else if (tag.is_number_integer() && tag.get<std::int64_t>() >= 0 &&
               tag.get<std::int64_t>() <= kTagMax) {
      ++numbers;
      row->tags.push_back(numbered_label(tag.get<std::size_t>()));
    } else if (tag.is_string() && !tag.get_ref<const std::string&>().empty()) {
      ++names;
      row->tags.push_back(tag.get<std::string>());
    } else {
      return bad_token_row("its field " + in_quotes(field) + " holds " + in_quotes(tag.dump(), 40) +
                           ", which is neither a name nor a number from 0 to " +
                           std::to_string(kTagMax));
    }
  }
  if (names != 0 && numbers != 0)
    return bad_token_row("its field " + in_quotes(field) + " has both names and numbers");
  row->is_numbered = numbers != 0;
  if (row->tags.size() == row->words.size()) return Status::ok();
  return bad_token_row("it has " + std::to_string(row->words.size()) + " tokens, but " +
                       std::to_string(row->tags.size()) + " labels in " + in_quotes(field));
}

// Gives the words from character `begin` to `end` the label of an entity.
Status mark_entity(std::size_t begin, std::size_t end, const std::string& label, TokenRow* row) {
  const std::string where = "its entity " + in_quotes(label, 40) + " from " +
                            std::to_string(begin) + " to " + std::to_string(end);
  bool is_first = true;
  for (std::size_t i = 0; i < row->words.size(); ++i) {
    const TextWord& word = row->words[i];
    if (word.end <= begin || word.begin >= end) continue;
    if (word.begin < begin || word.end > end)
      return bad_token_row(where + " begins or ends inside the word " + in_quotes(word.text, 40));
    if (row->tags[i] != kOutside) return bad_token_row(where + " overlaps another one");
    row->tags[i] = (is_first ? "B-" : "I-") + label;
    is_first = false;
  }
  return is_first ? bad_token_row(where + " holds no word") : Status::ok();
}

Status read_entities(const nlohmann::json& list, std::size_t characters, TokenRow* row) {
  if (!list.is_array()) return bad_token_row("its field 'entities' is not a list");
  row->tags.assign(row->words.size(), kOutside);
  for (const nlohmann::json& entity : list) {
    const auto number = [&](const char* field) -> std::optional<std::size_t> {
      const auto found = entity.find(field);
      if (found == entity.end() || !found->is_number_unsigned()) return std::nullopt;
      return found->get<std::size_t>();
    };
    if (!entity.is_object())
      return bad_token_row(
          "its field 'entities' holds something that is "
          "not an object");
    const auto begin = number("start"), end = number("end");
    const auto label = entity.find("label");
    if (!begin || !end || label == entity.end() || !label->is_string() ||
        label->get_ref<const std::string&>().empty())
      return bad_token_row("an entity of it has no numbers 'start' and 'end', or no text 'label'");
    if (*begin >= *end || *end > characters)
      return bad_token_row("its entity " + in_quotes(label->get<std::string>(), 40) + " is from " +
                           std::to_string(*begin) + " to " + std::to_string(*end) +
                           ", but the text has " + std::to_string(characters) + " characters");
    TROUPE_RETURN_IF_ERROR(mark_entity(*begin, *end, label->get<std::string>(), row));
  }
  return Status::ok();
}

Result<TokenRow> row_of_tokens(const nlohmann::json& row, const TokenFields& fields) {
  TokenRow out;
  std::vector<std::string> tokens;
  const nlohmann::json& list = row["tokens"];
  if (!list.is_array()) return bad_token_row("its field 'tokens' is not a list");
  for (const nlohmann::json& token : list) {
    if (!token.is_string())
      return bad_token_row("its field 'tokens' holds something that is not text");
    tokens.push_back(token.get<std::string>());
  }
  out.words = words_of(tokens);
  const std::string field = !fields.tags.empty()   ? fields.tags
                            : row.contains("tags") ? "tags"
                                                   : "ner_tags";
  const auto tags = row.find(field);
  if (tags == row.end()) {
    if (!fields.needs_tags) return out;
    return bad_token_row("it has no field " +
                         (fields.tags.empty() ? "'tags' or 'ner_tags'" : in_quotes(field)));
  }
  if (!tags->is_array()) return bad_token_row("its field " + in_quotes(field) + " is not a list");
  TROUPE_RETURN_IF_ERROR(read_tags(*tags, field, &out));
  return out;
}

Result<TokenRow> row_of_text(const nlohmann::json& row, const TokenFields& fields) {
  TokenRow out;
  const auto text = row.find(fields.text);
  if (text == row.end())
    return bad_token_row("it has neither a field 'tokens' nor a field " + in_quotes(fields.text));
  if (!text->is_string())
    return bad_token_row("its field " + in_quotes(fields.text) + " is not text");
  const auto& content = text->get_ref<const std::string&>();
  out.words = words_of(content);
  const auto entities = row.find("entities");
  if (entities == row.end()) {
    if (!fields.needs_tags) return out;
    return bad_token_row("it has no field 'entities'");
  }
  std::size_t characters = 0;
  for (const char c : content) characters += (c & 0xc0) != 0x80 ? 1 : 0;
  TROUPE_RETURN_IF_ERROR(read_entities(*entities, characters, &out));
  return out;
}

Result<TokenRow> token_row_of(std::string_view line, const TokenFields& fields) {
  const Result<nlohmann::json> row = parse_json(line, "the line", kTextLimits);
  if (!row) return bad_token_row("it is not JSON (" + row.message() + ")");
  if (!row->is_object()) return bad_token_row("it is JSON, but not an object");
  return row->contains("tokens") ? row_of_tokens(*row, fields) : row_of_text(*row, fields);
}

// Returns "X" for "B-X" and "I-X", and "" for every other name.
std::string_view entity_of(std::string_view label) {
  return label.starts_with("B-") || label.starts_with("I-") ? label.substr(2) : std::string_view();
}

// Returns the ids of a row; if not all words fit, the first or the last ones are taken.
Result<WordIds> encode_row(const TokenRow& row, const Tokenizer& tokenizer,
                           const DatasetOptions& options) {
  TROUPE_ASSIGN_OR_RETURN(WordIds all, encode_words(row.words, 0, tokenizer, options.length_max));
  if (options.truncation != Truncation::kLeft || all.end == row.words.size()) return all;
  std::size_t low = 1, high = row.words.size() - 1;
  while (low < high) {
    const std::size_t middle = low + (high - low) / 2;
    TROUPE_ASSIGN_OR_RETURN(WordIds one,
                            encode_words(row.words, middle, tokenizer, options.length_max));
    (one.end == row.words.size() ? high : low) = one.end == row.words.size() ? middle : middle + 1;
  }
  return encode_words(row.words, low, tokenizer, options.length_max);
}

}  // namespace

Result<TokenRows> read_token_rows(const std::filesystem::path& path, const TokenFields& fields) {
  TROUPE_ASSIGN_OR_RETURN(const std::string text, read_data_text(path));
  TokenRows out;
  std::size_t named = 0, numbered = 0;  // lines of the first rows of each kind
  for (const auto& [number, line] : lines_of(text)) {
    Result<TokenRow> row = token_row_of(line, fields);
    if (!row) {
      out.dropped.push_back({number, row.message()});
      continue;
    }
    row->line = number;
    const bool has_tags = std::any_of(row->tags.begin(), row->tags.end(),
                                      [](const std::string& tag) { return !tag.empty(); });
    if (has_tags) {
      std::size_t& first = row->is_numbered ? numbered : named;
      if (first == 0) first = number;
    }
    out.rows.push_back(std::move(*row));
  }
  if (named != 0 && numbered != 0)
    return bad_token_row(path.string() + " has names of labels in line " + std::to_string(named) +
                         ", but numbers in line " + std::to_string(numbered) +
                         "; give all of them as names or all as numbers");
  if (!out.rows.empty()) return out;
  return bad_token_row(path.string() + " has no row with words" +
                       (fields.needs_tags ? " and labels" : "") + why_none(out.dropped));
}

std::vector<std::string> token_label_names(const TokenRows& rows) {
  std::set<std::string> names;
  std::size_t numbers = 0;
  for (const TokenRow& row : rows.rows)
    for (const std::string& tag : row.tags) {
      if (tag.empty()) continue;
      names.insert(tag);
      if (row.is_numbered) numbers = std::max<std::size_t>(numbers, std::stoul(tag.substr(6)) + 1);
    }
  if (numbers != 0) {
    std::vector<std::string> numbered;
    for (std::size_t i = 0; i < numbers; ++i) numbered.push_back(numbered_label(i));
    return numbered;
  }
  if (names.contains(kOutside)) {
    std::set<std::string> whole = names;
    for (const std::string& name : names)
      if (const std::string_view entity = entity_of(name); !entity.empty())
        for (const char* prefix : {"B-", "I-"}) whole.insert(prefix + std::string(entity));
    names = std::move(whole);
  }
  return {names.begin(), names.end()};
}

Result<Dataset> token_dataset(const TokenRows& rows, const Tokenizer& tokenizer,
                              const DatasetOptions& options, std::vector<std::string> labels) {
  Dataset dataset;
  dataset.dropped = rows.dropped;
  dataset.labels = std::move(labels);
  if (dataset.labels.size() < 2)
    return Status(Code::kBadData,
                  "the words have " +
                      (dataset.labels.empty() ? std::string("no label")
                                              : "one label, " + in_quotes(dataset.labels[0], 40)) +
                      "; a classifier needs at least two");
  std::map<std::string, std::size_t> numbers;
  for (std::size_t i = 0; i < dataset.labels.size(); ++i) numbers[dataset.labels[i]] = i;
  for (const TokenRow& row : rows.rows) {
    TROUPE_ASSIGN_OR_RETURN(const WordIds words, encode_row(row, tokenizer, options));
    Example example;
    example.ids = words.ids;
    example.targets.assign(words.ids.size(), kNoTarget);
    const bool is_cut = words.first != 0 || words.end != row.words.size();
    bool is_supervised = false;
    for (std::size_t i = 0; i < row.words.size(); ++i) {
      if (row.tags[i].empty()) continue;
      // A number is the number of a label, whatever the label is called.
      const std::size_t number = row.is_numbered ? std::stoul(row.tags[i].substr(6))
                                 : numbers.contains(row.tags[i])
                                     ? numbers[row.tags[i]]
                                     : std::numeric_limits<std::size_t>::max();
      if (number >= dataset.labels.size())
        return Status(Code::kBadData, "line " + std::to_string(row.line) + " has the label " +
                                          in_quotes(row.tags[i], 40) + ", which is none of the " +
                                          std::to_string(dataset.labels.size()) +
                                          " that the model has");
      if (words.places[i] == WordIds::kNoPlace) continue;
      example.targets[words.places[i]] = static_cast<TokenId>(number);
      is_supervised = true;
    }
    if (is_cut && options.truncation == Truncation::kDrop) {
      dataset.dropped.push_back(
          {row.line, "it is longer than " + std::to_string(options.length_max) + " tokens"});
      continue;
    }
    if (!is_supervised) {
      dataset.dropped.push_back({row.line, "it has no word with a label"});
      continue;
    }
    dataset.truncated += is_cut ? 1 : 0;
    dataset.examples.push_back(std::move(example));
  }
  if (dataset.examples.empty())
    return Status(Code::kBadData, "no row is left to train on: all " +
                                      std::to_string(rows.rows.size()) + " were left out");
  return dataset;
}

bool are_entity_labels(const std::vector<std::string>& names) {
  return std::any_of(names.begin(), names.end(),
                     [](const std::string& name) { return !entity_of(name).empty(); });
}

std::vector<WordSpan> entities_of(const std::vector<std::string>& labels) {
  std::vector<WordSpan> spans;
  std::string_view before;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const std::string_view entity = entity_of(labels[i]);
    if (!entity.empty()) {
      if (labels[i][0] == 'B' || entity != before) spans.push_back({i, 0, std::string(entity)});
      ++spans.back().count;
    }
    before = entity;
  }
  return spans;
}

}  // namespace troupe::model
