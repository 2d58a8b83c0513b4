#include <optional>

#include <troupe/model/text/regex.h>
#include <troupe/model/tokenizer/charsmap.h>
#include <troupe/model/tokenizer/tokenizer_json_steps.h>
#include <troupe/model/tokenizer/vocabulary.h>
#include <troupe/runtime/text/base64.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model {
namespace {

using nlohmann::json;

constexpr int kNestingMax = 8;  // the most levels of nested Sequences

Result<const json*> list_of(const json& step, const char* field, const std::string& where) {
  const auto found = step.find(field);
  if (found == step.end() || !found->is_array()) {
    return bad_tokenizer(where + " has no list '" + field + "'");
  }
  return &*found;
}

Result<std::string> type_of(const json& step, const std::string& where) {
  if (!step.is_object()) return bad_tokenizer(where + " is not an object");
  return json_string(step, "type", where);
}

Status unknown_type(const std::string& where, const std::string& type) {
  return bad_tokenizer(where + " has the type " + in_quotes(type) + ", which is not supported");
}

// {"String": text} or {"Regex": pattern}
struct Pattern {
  std::string text;
  bool is_regex = false;
};
Result<Pattern> pattern_of(const json& step, const std::string& where) {
  const auto found = step.find("pattern");
  if (found != step.end() && found->is_object() && found->size() == 1 &&
      found->begin()->is_string() &&
      (found->begin().key() == "String" || found->begin().key() == "Regex")) {
    return Pattern{found->begin()->get<std::string>(), found->begin().key() == "Regex"};
  }
  return bad_tokenizer(where + " has no 'pattern' with a 'String' or a 'Regex'");
}

Result<Regex> regex_of(const std::string& pattern, const std::string& where) {
  Result<Regex> regex = Regex::compile(pattern, /*foreign=*/true);
  if (!regex.is_ok()) return bad_tokenizer(where + ": " + regex.message());
  return regex;
}

Result<SplitBehavior> behavior_of(const json& step, const std::string& where) {
  TROUPE_ASSIGN_OR_RETURN(const std::string name, json_string(step, "behavior", where));
  static constexpr std::pair<std::string_view, SplitBehavior> kNames[] = {
      {"Removed", SplitBehavior::kRemoved},
      {"Isolated", SplitBehavior::kIsolated},
      {"MergedWithPrevious", SplitBehavior::kMergedWithPrevious},
      {"MergedWithNext", SplitBehavior::kMergedWithNext},
      {"Contiguous", SplitBehavior::kContiguous}};
  for (const auto& [known, behavior] : kNames) {
    if (name == known) return behavior;
  }
  return bad_tokenizer(where + " has the behavior " + in_quotes(name) + ", which is not known");
}

Status add_bert_normalizer(const json& step, const std::string& where,
                           std::vector<Normalizer>* out) {
  BertNormalization options;
  TROUPE_ASSIGN_OR_RETURN(options.clean_text, json_flag(step, "clean_text", true, where));
  TROUPE_ASSIGN_OR_RETURN(options.split_ideographs,
                          json_flag(step, "handle_chinese_chars", true, where));
  TROUPE_ASSIGN_OR_RETURN(options.lower_case, json_flag(step, "lowercase", true, where));
  TROUPE_ASSIGN_OR_RETURN(options.strip_accents,
                          json_flag(step, "strip_accents", options.lower_case, where));
  out->push_back(bert_normalizer(options));
  return Status::ok();
}

Status add_charsmap(const json& step, const std::string& what, std::vector<Normalizer>* out) {
  constexpr const char* kField = "precompiled_charsmap";
  const auto found = step.find(kField);
  if (found != step.end() && found->is_null()) return Status::ok();  // a model without rules
  TROUPE_ASSIGN_OR_RETURN(const std::string text, json_string(step, kField, what));
  if (text.empty()) return Status::ok();
  const std::optional<std::string> bytes = from_base64(text);
  if (!bytes) return bad_tokenizer(what + " has a '" + kField + "' that is not base64");
  Result<Charsmap> map = Charsmap::parse(*bytes);
  if (!map.is_ok()) return bad_tokenizer(what + ": " + map.message());
  out->push_back(charsmap_normalizer(std::move(*map)));
  return Status::ok();
}

Status add_normalizer(const json& step, int depth, std::vector<Normalizer>* out) {
  const std::string where = "a normalizer";
  TROUPE_ASSIGN_OR_RETURN(const std::string type, type_of(step, where));
  const std::string what = "the normalizer " + type;
  if (type == "Sequence") {
    if (depth == kNestingMax) return bad_tokenizer("normalizers are nested too deeply");
    TROUPE_ASSIGN_OR_RETURN(const json* list, list_of(step, "normalizers", what));
    for (const json& one : *list) TROUPE_RETURN_IF_ERROR(add_normalizer(one, depth + 1, out));
    return Status::ok();
  }
  static constexpr std::pair<std::string_view, NormalForm> kForms[] = {{"NFC", NormalForm::kNfc},
                                                                       {"NFD", NormalForm::kNfd},
                                                                       {"NFKC", NormalForm::kNfkc},
                                                                       {"NFKD", NormalForm::kNfkd}};
  for (const auto& [name, form] : kForms) {
    if (type != name) continue;
    out->push_back(form_normalizer(form));
    return Status::ok();
  }
  if (type == "BertNormalizer") return add_bert_normalizer(step, what, out);
  if (type == "Lowercase") {
    out->push_back(lower_case_normalizer());
  } else if (type == "StripAccents") {
    out->push_back(strip_accents_normalizer());
  } else if (type == "Strip") {
    TROUPE_ASSIGN_OR_RETURN(const bool left, json_flag(step, "strip_left", true, what));
    TROUPE_ASSIGN_OR_RETURN(const bool right, json_flag(step, "strip_right", true, what));
    out->push_back(strip_normalizer(left, right));
  } else if (type == "Prepend") {
    TROUPE_ASSIGN_OR_RETURN(std::string text, json_string(step, "prepend", what));
    out->push_back(prepend_normalizer(std::move(text)));
  } else if (type == "Precompiled") {
    TROUPE_RETURN_IF_ERROR(add_charsmap(step, what, out));
  } else if (type == "Replace") {
    TROUPE_ASSIGN_OR_RETURN(Pattern pattern, pattern_of(step, what));
    TROUPE_ASSIGN_OR_RETURN(std::string content, json_string(step, "content", what));
    if (pattern.is_regex) {
      TROUPE_ASSIGN_OR_RETURN(Regex regex, regex_of(pattern.text, what));
      out->push_back(replace_normalizer(std::move(regex), std::move(content)));
    } else {
      out->push_back(replace_normalizer(std::move(pattern.text), std::move(content)));
    }
  } else {
    return unknown_type(where, type);
  }
  return Status::ok();
}

Status add_metaspace(const json& step, const std::string& what, std::vector<Cut>* out) {
  TROUPE_ASSIGN_OR_RETURN(std::string replacement, json_string(step, "replacement", what));
  TROUPE_ASSIGN_OR_RETURN(const bool split, json_flag(step, "split", true, what));
  TROUPE_ASSIGN_OR_RETURN(const bool legacy, json_flag(step, "add_prefix_space", true, what));
  PrependScheme scheme = legacy ? PrependScheme::kAlways : PrependScheme::kNever;
  if (step.contains("prepend_scheme")) {
    TROUPE_ASSIGN_OR_RETURN(const std::string name, json_string(step, "prepend_scheme", what));
    if (name != "always" && name != "first" && name != "never") {
      return bad_tokenizer(what + " has the prepend_scheme " + in_quotes(name) +
                           ", expected always, first or never");
    }
    scheme = name == "always"  ? PrependScheme::kAlways
             : name == "first" ? PrependScheme::kFirst
                               : PrependScheme::kNever;
  }
  if (replacement.empty()) return bad_tokenizer(what + " has an empty 'replacement'");
  out->push_back(metaspace_cut(std::move(replacement), scheme, split));
  return Status::ok();
}

// Makes the cut of one step that is not a Sequence, ByteLevel or Metaspace.
Result<Cut> plain_cut(const json& step, const std::string& type, const std::string& what) {
  if (type == "Split") {
    TROUPE_ASSIGN_OR_RETURN(Pattern pattern, pattern_of(step, what));
    TROUPE_ASSIGN_OR_RETURN(const SplitBehavior behavior, behavior_of(step, what));
    TROUPE_ASSIGN_OR_RETURN(const bool invert, json_flag(step, "invert", false, what));
    if (!pattern.is_regex) return literal_cut(std::move(pattern.text), behavior, invert);
    TROUPE_ASSIGN_OR_RETURN(Regex regex, regex_of(pattern.text, what));
    return split_cut(std::move(regex), behavior, invert);
  }
  if (type == "Digits") {
    TROUPE_ASSIGN_OR_RETURN(const bool individual,
                            json_flag(step, "individual_digits", false, what));
    return digits_cut(individual);
  }
  if (type == "Punctuation") {
    SplitBehavior behavior = SplitBehavior::kIsolated;
    if (step.contains("behavior")) {
      TROUPE_ASSIGN_OR_RETURN(behavior, behavior_of(step, what));
    }
    return punctuation_cut(behavior);
  }
  if (type == "CharDelimiterSplit") {
    TROUPE_ASSIGN_OR_RETURN(std::string delimiter, json_string(step, "delimiter", what));
    return literal_cut(std::move(delimiter), SplitBehavior::kRemoved, false);
  }
  if (type == "Whitespace") return white_space_cut();
  if (type == "WhitespaceSplit") return white_space_only_cut();
  if (type == "BertPreTokenizer") return bert_cut();
  return unknown_type("a pre_tokenizer", type);
}

Status add_cut(const json& step, int depth, std::vector<Cut>* out, bool* byte_level) {
  const std::string where = "a pre_tokenizer";
  TROUPE_ASSIGN_OR_RETURN(const std::string type, type_of(step, where));
  const std::string what = "the pre_tokenizer " + type;
  if (type == "Sequence") {
    if (depth == kNestingMax) return bad_tokenizer("pre_tokenizers are nested too deeply");
    TROUPE_ASSIGN_OR_RETURN(const json* list, list_of(step, "pretokenizers", what));
    for (const json& one : *list) {
      TROUPE_RETURN_IF_ERROR(add_cut(one, depth + 1, out, byte_level));
    }
    return Status::ok();
  }
  const bool writes = type == "ByteLevel" || type == "Metaspace";
  if (*byte_level && writes)
    return bad_tokenizer(what + " follows ByteLevel, which is not supported");
  if (type == "Metaspace") return add_metaspace(step, what, out);
  if (type == "ByteLevel") {
    TROUPE_ASSIGN_OR_RETURN(const bool prefix, json_flag(step, "add_prefix_space", true, what));
    TROUPE_ASSIGN_OR_RETURN(const bool regex, json_flag(step, "use_regex", true, what));
    out->push_back(byte_level_cut(prefix, regex));
    *byte_level = true;
    return Status::ok();
  }
  TROUPE_ASSIGN_OR_RETURN(Cut cut, plain_cut(step, type, what));
  // Later steps see the characters that ByteLevel has written for bytes.
  out->push_back(*byte_level ? byte_alphabet_cut(std::move(cut)) : std::move(cut));
  return Status::ok();
}

Status add_decoder(const json& step, int depth, PieceRules* rules) {
  const std::string where = "a decoder";
  TROUPE_ASSIGN_OR_RETURN(const std::string type, type_of(step, where));
  const std::string what = "the decoder " + type;
  if (type == "Sequence") {
    if (depth == kNestingMax) return bad_tokenizer("decoders are nested too deeply");
    TROUPE_ASSIGN_OR_RETURN(const json* list, list_of(step, "decoders", what));
    for (const json& one : *list) TROUPE_RETURN_IF_ERROR(add_decoder(one, depth + 1, rules));
    return Status::ok();
  }
  if (type == "ByteLevel") {
    rules->byte_level = true;
  } else if (type == "ByteFallback") {
    rules->byte_fallback = true;
  } else if (type == "Replace") {
    TROUPE_ASSIGN_OR_RETURN(Pattern pattern, pattern_of(step, what));
    TROUPE_ASSIGN_OR_RETURN(std::string content, json_string(step, "content", what));
    if (pattern.is_regex) return bad_tokenizer(what + " has a 'Regex', which is not supported");
    rules->replacements.emplace_back(std::move(pattern.text), std::move(content));
  } else if (type == "Metaspace") {
    TROUPE_ASSIGN_OR_RETURN(std::string mark, json_string(step, "replacement", what));
    TROUPE_ASSIGN_OR_RETURN(rules->drops_first_space,
                            json_flag(step, "add_prefix_space", true, what));
    if (step.contains("prepend_scheme"))
      rules->drops_first_space = step["prepend_scheme"] != "never";
    rules->replacements.emplace_back(std::move(mark), " ");
  } else if (type == "Strip") {
    TROUPE_ASSIGN_OR_RETURN(const std::string content, json_string(step, "content", what));
    const json stop = step.value("stop", json(0)), start = step.value("start", json(0));
    if (content != " " || stop != json(0) || (start != json(0) && start != json(1))) {
      return bad_tokenizer(what +
                           " does not drop just the first space, which is all that is supported");
    }
    rules->drops_first_space = start == json(1);
  } else if (type == "WordPiece") {
    rules->joins_words = rules->drops_first_space = true;
    TROUPE_ASSIGN_OR_RETURN(rules->continuation, json_string(step, "prefix", what));
    TROUPE_ASSIGN_OR_RETURN(rules->cleans_up, json_flag(step, "cleanup", true, what));
  } else if (type == "BPEDecoder") {
    TROUPE_ASSIGN_OR_RETURN(rules->word_end, json_string(step, "suffix", what));
  } else if (type != "Fuse") {
    return unknown_type(where, type);
  }
  return Status::ok();
}

void replace_all(std::string_view from, std::string_view to, std::string* text) {
  if (from.empty()) return;
  std::string out;
  std::size_t at = 0;
  for (;;) {
    const std::size_t found = text->find(from, at);
    out.append(*text, at, found - at);
    if (found == std::string::npos) break;
    out += to;
    at = found + from.size();
  }
  *text = std::move(out);
}

// Removes the spaces before punctuation and within contractions. Source: cleanup() of the decoder
// WordPiece.
void clean_up(std::string* piece) {
  static constexpr std::pair<std::string_view, std::string_view> kRules[] = {
      {" .", "."},   {" ?", "?"},     {" !", "!"},    {" ,", ","},
      {" ' ", "'"},  {" n't", "n't"}, {" 'm", "'m"},  {" do not", " don't"},
      {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
  for (const auto& [from, to] : kRules) replace_all(from, to, piece);
}

}  // namespace

Status bad_tokenizer(const std::string& what) {
  return Status(Code::kBadData, "tokenizer.json: " + what +
                                    "; take the tokenizer.json of the model's makers, a GGUF file "
                                    "of the model, or a newer version of Troupe");
}

Result<bool> json_flag(const json& object, const char* field, bool fallback,
                       const std::string& where) {
  const auto found = object.find(field);
  if (found == object.end() || found->is_null()) return fallback;
  if (!found->is_boolean())
    return bad_tokenizer(where + " has a '" + field + "' that is not a bool");
  return found->get<bool>();
}

Result<std::string> json_string(const json& object, const char* field, const std::string& where) {
  const auto found = object.find(field);
  if (found == object.end() || !found->is_string()) {
    return bad_tokenizer(where + " has no text '" + field + "'");
  }
  return found->get<std::string>();
}

Status read_normalizers(const json& step, std::vector<Normalizer>* out) {
  return step.is_null() ? Status::ok() : add_normalizer(step, 0, out);
}

Status read_cuts(const json& step, std::vector<Cut>* out, bool* byte_level) {
  return step.is_null() ? Status::ok() : add_cut(step, 0, out, byte_level);
}

Result<PieceRules> read_decoder(const json& step) {
  PieceRules rules;
  rules.space_between = rules.drops_first_space = step.is_null();
  if (!step.is_null()) TROUPE_RETURN_IF_ERROR(add_decoder(step, 0, &rules));
  return rules;
}

std::string piece_of(const std::string& token, const PieceRules& rules) {
  std::string piece = token;
  if (rules.byte_level) {
    piece.clear();
    if (!append_byte_level(token, &piece)) piece = token;
    return piece;
  }
  if (const int byte = rules.byte_fallback ? fallback_byte(token) : -1; byte >= 0) {
    return std::string(1, static_cast<char>(byte));
  }
  for (const auto& [from, to] : rules.replacements) replace_all(from, to, &piece);
  if (!rules.word_end.empty()) replace_all(rules.word_end, " ", &piece);
  if (rules.joins_words && piece.starts_with(rules.continuation)) {
    piece.erase(0, rules.continuation.size());
  } else if (rules.joins_words || rules.space_between) {
    piece.insert(0, " ");
  }
  if (rules.cleans_up) clean_up(&piece);
  return piece;
}

}  // namespace troupe::model
