#include <algorithm>
#include <utility>

#include <nlohmann/json.hpp>

#include <troupe/model/training/pair_rows.h>
#include <troupe/model/training/text_limits.h>
#include <troupe/runtime/file.h>
#include <troupe/runtime/text/bounded_json.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model {
namespace {

Status bad_row(const std::string& why) { return Status(Code::kBadData, why); }

Result<std::vector<std::string>> texts_of(const nlohmann::json& row) {
  std::vector<std::string> texts;
  const char* anchor = row.contains("query") && !row.contains("anchor") ? "query" : "anchor";
  for (const char* field : {anchor, "positive"}) {
    const auto found = row.find(field);
    if (found == row.end()) return bad_row("it has no field " + in_quotes(field));
    if (!found->is_string()) return bad_row("its field " + in_quotes(field) + " is not text");
    texts.push_back(found->get<std::string>());
  }
  const auto negatives = row.find("negative");
  if (negatives == row.end() || negatives->is_null()) return texts;
  for (const nlohmann::json& one :
       negatives->is_array() ? *negatives : nlohmann::json::array({*negatives})) {
    if (!one.is_string())
      return bad_row("its field 'negative' is neither a text nor a list of texts");
    texts.push_back(one.get<std::string>());
  }
  return texts;
}

Result<PairRow> pair_of(std::string_view line, std::size_t number) {
  Result<nlohmann::json> row = parse_json(line, "the line", kTextLimits);
  if (!row) return bad_row("it is not JSON (" + row.message() + ")");
  if (!row->is_object()) return bad_row("it is JSON, but not an object");
  TROUPE_ASSIGN_OR_RETURN(std::vector<std::string> texts, texts_of(*row));
  return PairRow{number, std::move(texts)};
}

}  // namespace

Result<PairRows> read_pair_rows(const std::filesystem::path& path) {
  TROUPE_ASSIGN_OR_RETURN(const std::string text, read_data_text(path));
  PairRows out;
  for (const auto& [number, line] : lines_of(text)) {
    Result<PairRow> row = pair_of(line, number);
    if (!row) {
      out.dropped.push_back({number, row.message()});
      continue;
    }
    const std::size_t negatives = row->texts.size() - 2;
    if (out.rows.empty()) out.negatives = negatives;
    if (negatives != out.negatives) {
      out.dropped.push_back({number, "the number of its negatives is " + std::to_string(negatives) +
                                         ", but that of line " + std::to_string(out.rows[0].line) +
                                         " is " + std::to_string(out.negatives)});
      continue;
    }
    out.rows.push_back(std::move(*row));
  }
  if (!out.rows.empty()) return out;
  return Status(Code::kBadData,
                path.string() + " has no pair that can be trained on" + why_none(out.dropped));
}

Result<Dataset> pair_dataset(const PairRows& rows, const Tokenizer& tokenizer,
                             const DatasetOptions& options) {
  Dataset dataset;
  dataset.dropped = rows.dropped;
  for (const PairRow& row : rows.rows) {
    std::vector<Example> examples;
    std::string why;
    bool any_truncated = false;
    for (const std::string& text : row.texts) {
      bool truncated = false;
      Example example;
      TROUPE_ASSIGN_OR_RETURN(example.ids, encode_text(text, tokenizer, options, &truncated));
      any_truncated |= truncated;
      if (truncated && options.truncation == Truncation::kDrop)
        why = "a text of it is longer than " + std::to_string(options.length_max) + " tokens";
      if (example.ids.empty()) why = "a text of it has no tokens";
      examples.push_back(std::move(example));
    }
    if (!why.empty()) {
      dataset.dropped.push_back({row.line, why});
      continue;
    }
    dataset.truncated += any_truncated ? 1 : 0;
    for (Example& example : examples) dataset.examples.push_back(std::move(example));
  }
  if (dataset.examples.empty())
    return Status(Code::kBadData, "no row is left to train on: all " +
                                      std::to_string(rows.rows.size()) + " were left out");
  return dataset;
}

}  // namespace troupe::model
