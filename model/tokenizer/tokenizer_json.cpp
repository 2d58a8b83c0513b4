#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <troupe/model/tokenizer/bpe_model.h>
#include <troupe/model/tokenizer/tokenizer_json.h>
#include <troupe/model/tokenizer/tokenizer_json_steps.h>
#include <troupe/model/tokenizer/word_piece.h>
#include <troupe/runtime/text/bounded_json.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model {
namespace {

using nlohmann::json;

constexpr JsonLimits kLimits = {std::size_t{256} << 20, 32};
const json kNull;

const json& field_of(const json& object, const char* field) {
  const auto found = object.find(field);
  return found == object.end() ? kNull : *found;
}

Result<TokenId> id_of(const json& value, const std::string& where) {
  const bool fits = value.is_number_unsigned() &&
                    value.get<std::uint64_t>() < std::uint64_t{Vocabulary::kTokensMax};
  if (!fits) {
    return bad_tokenizer(where + " has the id " + in_quotes(value.dump()) + ", expected 0 to " +
                         std::to_string(Vocabulary::kTokensMax - 1));
  }
  return static_cast<TokenId>(value.get<std::uint64_t>());
}

struct Added {
  AddedToken token;
  bool normalized = false;
};

// Everything that tokenizer.json names, before the parts are made.
struct Source {
  std::vector<std::string> tokens;  // by id; "" if there is none
  std::map<std::string, TokenId, std::less<>> added_ids;
  std::vector<Added> added;

  // Returns -1 if there is no such token.
  TokenId find(const json& vocabulary, const std::string& text) const {
    if (const auto found = added_ids.find(text); found != added_ids.end()) return found->second;
    const auto found = vocabulary.find(text);
    return found == vocabulary.end() ? -1 : static_cast<TokenId>(found->get<std::uint64_t>());
  }
};

// Refuses two tokens with one id: nothing says which of them the id stands for.
Status two_of_one_id(const std::string& one, const std::string& other, TokenId id) {
  return bad_tokenizer("the tokens " + in_quotes(one, 40) + " and " + in_quotes(other, 40) +
                       " have the same id, " + std::to_string(id));
}

Status read_vocabulary(const json& vocabulary, Source* source) {
  if (!vocabulary.is_object() || vocabulary.empty()) {
    return bad_tokenizer("'model' has no object 'vocab' with tokens in it");
  }
  std::vector<bool> taken;
  // Ids may leave gaps, but a small file must not make a large table.
  const std::size_t most = vocabulary.size() * 4 + 65536;
  for (const auto& [text, value] : vocabulary.items()) {
    TROUPE_ASSIGN_OR_RETURN(const TokenId id, id_of(value, "the token " + in_quotes(text)));
    const auto index = static_cast<std::size_t>(id);
    if (index >= most) {
      return bad_tokenizer("the token " + in_quotes(text) + " has the id " + std::to_string(id) +
                           ", far beyond the " + std::to_string(vocabulary.size()) + " tokens");
    }
    if (index >= source->tokens.size()) {
      source->tokens.resize(index + 1);
      taken.resize(index + 1);
    }
    if (taken[index]) return two_of_one_id(source->tokens[index], text, id);
    taken[index] = true;
    source->tokens[index] = text;
  }
  return Status::ok();
}

Status read_added(const json& list, Source* source) {
  if (list.is_null()) return Status::ok();
  if (!list.is_array()) return bad_tokenizer("'added_tokens' is no list");
  const std::size_t most = source->tokens.size() + list.size() + 65536;
  std::map<TokenId, std::string> by_id;
  for (const json& one : list) {
    const std::string where = "an added token";
    if (!one.is_object()) return bad_tokenizer(where + " is no object");
    Added added;
    TROUPE_ASSIGN_OR_RETURN(added.token.text, json_string(one, "content", where));
    const std::string what = "the added token " + in_quotes(added.token.text);
    TROUPE_ASSIGN_OR_RETURN(added.token.id, id_of(field_of(one, "id"), what));
    TROUPE_ASSIGN_OR_RETURN(added.token.special, json_flag(one, "special", false, what));
    TROUPE_ASSIGN_OR_RETURN(added.token.single_word, json_flag(one, "single_word", false, what));
    TROUPE_ASSIGN_OR_RETURN(added.token.strips_left, json_flag(one, "lstrip", false, what));
    TROUPE_ASSIGN_OR_RETURN(added.token.strips_right, json_flag(one, "rstrip", false, what));
    TROUPE_ASSIGN_OR_RETURN(added.normalized,
                            json_flag(one, "normalized", !added.token.special, what));
    const auto index = static_cast<std::size_t>(added.token.id);
    if (index >= most) {
      return bad_tokenizer(what + " has the id " + std::to_string(index) + ", far beyond the " +
                           std::to_string(source->tokens.size()) + " tokens");
    }
    const auto [namesake, is_new] = by_id.emplace(added.token.id, added.token.text);
    if (!is_new && namesake->second != added.token.text) {
      return two_of_one_id(namesake->second, added.token.text, added.token.id);
    }
    const std::string* known = index < source->tokens.size() ? &source->tokens[index] : nullptr;
    if (known != nullptr && !known->empty() && *known != added.token.text) {
      return two_of_one_id(*known, added.token.text, added.token.id);
    }
    source->added_ids[added.token.text] = added.token.id;
    source->added.push_back(std::move(added));
  }
  return Status::ok();
}

Status refuse_set(const json& model, const char* field) {
  const json& value = field_of(model, field);
  const bool unset = value.is_null() || value == json("") || value == json(0.0);
  if (unset) return Status::ok();
  return bad_tokenizer("'model' has '" + std::string(field) + "': " + in_quotes(value.dump()) +
                       ", which is not supported");
}

Result<std::unique_ptr<const WordModel>> read_bpe(const json& model, const Source& source,
                                                  bool byte_level) {
  for (const char* field : {"dropout", "continuing_subword_prefix", "end_of_word_suffix"}) {
    TROUPE_RETURN_IF_ERROR(refuse_set(model, field));
  }
  BpeModel::Options options;
  options.byte_level = byte_level;
  TROUPE_ASSIGN_OR_RETURN(options.whole_words, json_flag(model, "ignore_merges", false, "'model'"));
  TROUPE_ASSIGN_OR_RETURN(options.byte_fallback,
                          json_flag(model, "byte_fallback", false, "'model'"));
  TROUPE_ASSIGN_OR_RETURN(options.fuse_unknown, json_flag(model, "fuse_unk", false, "'model'"));
  if (const json& unknown = field_of(model, "unk_token"); unknown.is_string()) {
    options.unknown = source.find(field_of(model, "vocab"), unknown.get<std::string>());
  }
  const json& list = field_of(model, "merges");
  if (!list.is_array()) return bad_tokenizer("'model' has no list 'merges'");
  std::vector<std::pair<std::string_view, std::string_view>> merges;
  merges.reserve(list.size());
  for (const json& merge : list) {
    const bool pair =
        merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string();
    if (pair) {
      merges.emplace_back(merge[0].get_ref<const std::string&>(),
                          merge[1].get_ref<const std::string&>());
      continue;
    }
    const std::string_view line =
        merge.is_string() ? std::string_view(merge.get_ref<const std::string&>()) : "";
    const std::size_t space = line.find(' ');
    if (space == std::string_view::npos || line.find(' ', space + 1) != std::string_view::npos) {
      return bad_tokenizer("merge " + std::to_string(merges.size()) + " is " +
                           in_quotes(merge.dump(-1, ' ', false, json::error_handler_t::replace)) +
                           ", expected two parts");
    }
    merges.emplace_back(line.substr(0, space), line.substr(space + 1));
  }
  auto made = std::make_unique<BpeModel>(options, source.tokens);
  TROUPE_RETURN_IF_ERROR(
      made->load_merges(merges, /*parts_may_be_unknown=*/false, "tokenizer.json"));
  return std::unique_ptr<const WordModel>(std::move(made));
}

Result<std::unique_ptr<const WordModel>> read_word_piece(const json& model, const Source& source) {
  WordPieceModel::Options options;
  TROUPE_ASSIGN_OR_RETURN(const std::string unknown, json_string(model, "unk_token", "'model'"));
  options.unknown = source.find(field_of(model, "vocab"), unknown);
  if (options.unknown < 0) {
    return bad_tokenizer("the unk_token " + in_quotes(unknown) + " is no token");
  }
  TROUPE_ASSIGN_OR_RETURN(const std::string prefix,
                          json_string(model, "continuing_subword_prefix", "'model'"));
  if (const json& most = field_of(model, "max_input_chars_per_word"); !most.is_null()) {
    if (!most.is_number_unsigned()) {
      return bad_tokenizer("'max_input_chars_per_word' is " + in_quotes(most.dump()) +
                           ", expected a number");
    }
    options.characters_max = most.get<std::size_t>();
  }
  auto made = std::make_unique<WordPieceModel>(options);
  for (std::size_t i = 0; i < source.tokens.size(); ++i) {
    const std::string_view text = source.tokens[i];
    const auto id = static_cast<TokenId>(i);
    made->add_start(text, id);
    if (text.starts_with(prefix)) made->add_continuation(text.substr(prefix.size()), id);
  }
  return std::unique_ptr<const WordModel>(std::move(made));
}

// Reads what goes around a text: [{"SpecialToken": {"id": "[CLS]"}}, {"Sequence": ...}, ...].
Status read_template(const json& step, const Source& source, const json& vocabulary,
                     TokenizerParts* parts) {
  const json& single = field_of(step, "single");
  if (!single.is_array()) return bad_tokenizer("the post_processor has no list 'single'");
  const json& names = field_of(step, "special_tokens");
  bool seen_text = false;
  for (const json& one : single) {
    if (one.is_object() && one.contains("Sequence")) {
      if (seen_text) return bad_tokenizer("the post_processor puts the text in twice");
      seen_text = true;
      continue;
    }
    const json& token = one.is_object() ? field_of(one, "SpecialToken") : kNull;
    if (!token.is_object())
      return bad_tokenizer("the post_processor has a piece that is not known");
    TROUPE_ASSIGN_OR_RETURN(const std::string name,
                            json_string(token, "id", "a piece of the post_processor"));
    std::vector<TokenId>& side = seen_text ? parts->after : parts->before;
    const json& ids = names.is_object() ? field_of(field_of(names, name.c_str()), "ids") : kNull;
    if (ids.is_array()) {
      for (const json& value : ids) {
        TROUPE_ASSIGN_OR_RETURN(const TokenId id, id_of(value, "the post_processor"));
        side.push_back(id);
      }
      continue;
    }
    side.push_back(source.find(vocabulary, name));
  }
  if (!seen_text) return bad_tokenizer("the post_processor leaves the text out");
  return Status::ok();
}

// Sets `found` if a step says what goes around a text.
Status read_post_processor(const json& step, const Source& source, const json& vocabulary,
                           bool* found, TokenizerParts* parts, int depth = 0) {
  if (step.is_null()) return Status::ok();
  if (!step.is_object()) return bad_tokenizer("the post_processor is no object");
  TROUPE_ASSIGN_OR_RETURN(const std::string type, json_string(step, "type", "the post_processor"));
  if (type == "ByteLevel") return Status::ok();
  if (type == "Sequence") {
    const json& list = field_of(step, "processors");
    if (!list.is_array() || depth > 4)
      return bad_tokenizer("the post_processor has no 'processors'");
    for (const json& one : list) {
      TROUPE_RETURN_IF_ERROR(read_post_processor(one, source, vocabulary, found, parts, depth + 1));
    }
    return Status::ok();
  }
  if (*found) return bad_tokenizer("the post_processor says twice what goes around a text");
  *found = true;
  if (type == "TemplateProcessing") return read_template(step, source, vocabulary, parts);
  if (type != "BertProcessing" && type != "RobertaProcessing") {
    return bad_tokenizer("the post_processor has the type " + in_quotes(type) +
                         ", which is not supported");
  }
  for (const char* side : {"cls", "sep"}) {
    const json& pair = field_of(step, side);
    if (!pair.is_array() || pair.size() != 2) {
      return bad_tokenizer("the post_processor has no pair '" + std::string(side) + "'");
    }
    TROUPE_ASSIGN_OR_RETURN(const TokenId id, id_of(pair[1], "the post_processor"));
    (side[0] == 'c' ? parts->before : parts->after).push_back(id);
  }
  return Status::ok();
}

// `text` is empty if there is no such file.
Result<json> read_object(std::string_view text, const std::string& file) {
  if (text.empty()) return json::object();
  TROUPE_ASSIGN_OR_RETURN(json object, parse_json(text, file, kLimits));
  if (!object.is_object()) return Status(Code::kBadData, file + ": the text is no object");
  return object;
}

// Returns a special token of tokenizer_config.json, which is a text or an object with it; -1 if
// there is none.
TokenId config_token(const json& config, const char* field, const Source& source,
                     const json& vocabulary) {
  const json& value = field_of(config, field);
  const json& text = value.is_object() ? field_of(value, "content") : value;
  return text.is_string() ? source.find(vocabulary, text.get<std::string>()) : -1;
}

Status check_ids(const std::vector<TokenId>& ids, std::size_t tokens) {
  for (const TokenId id : ids) {
    if (id < 0 || static_cast<std::size_t>(id) >= tokens) {
      return bad_tokenizer("the post_processor names a token that is not there");
    }
  }
  return Status::ok();
}

void fill_vocabulary(Source* source, const PieceRules& rules, TokenizerParts* parts) {
  std::vector<TokenType> types(source->tokens.size(), TokenType::kNormal);
  for (std::size_t i = 0; i < types.size(); ++i) {
    if (source->tokens[i].empty()) types[i] = TokenType::kUnused;
  }
  for (const Added& added : source->added) {
    const auto index = static_cast<std::size_t>(added.token.id);
    if (index >= types.size()) {
      types.resize(index + 1, TokenType::kUnused);
      source->tokens.resize(index + 1);
    }
    types[index] = added.token.special ? TokenType::kControl : TokenType::kUserDefined;
    source->tokens[index] = added.token.text;
  }
  for (std::size_t i = 0; i < types.size(); ++i) {
    const bool added = types[i] == TokenType::kControl || types[i] == TokenType::kUserDefined;
    const bool apart = rules.joins_words || rules.space_between;
    const std::string piece =
        added ? (apart ? " " : "") + source->tokens[i] : piece_of(source->tokens[i], rules);
    parts->vocabulary.add(types[i], piece);
  }
  parts->drops_first_space = rules.drops_first_space;
}

}  // namespace

Result<TokenizerParts> json_parts(std::string_view tokenizer_json, std::string_view config_json,
                                  std::string_view special_json) {
  TROUPE_ASSIGN_OR_RETURN(const json file, parse_json(tokenizer_json, "tokenizer.json", kLimits));
  TROUPE_ASSIGN_OR_RETURN(const json config, read_object(config_json, "tokenizer_config.json"));
  TROUPE_ASSIGN_OR_RETURN(const json special, read_object(special_json, "special_tokens_map.json"));
  const json& model = file.is_object() ? field_of(file, "model") : kNull;
  if (!model.is_object()) return bad_tokenizer("there is no object 'model'");
  std::string type = model.value("type", json("")).is_string()
                         ? model.value("type", json("")).get<std::string>()
                         : std::string();
  if (type.empty() && model.contains("merges")) type = "BPE";  // as old files have it
  if (type != "BPE" && type != "WordPiece") {
    return bad_tokenizer("the model has the type " + in_quotes(type) +
                         ", which is not supported; BPE and WordPiece are");
  }
  TokenizerParts parts;
  Source source;
  const json& vocabulary = field_of(model, "vocab");
  TROUPE_RETURN_IF_ERROR(read_vocabulary(vocabulary, &source));
  TROUPE_RETURN_IF_ERROR(read_added(field_of(file, "added_tokens"), &source));
  TROUPE_RETURN_IF_ERROR(read_normalizers(field_of(file, "normalizer"), &parts.normalizers));
  bool byte_level = false;
  TROUPE_RETURN_IF_ERROR(read_cuts(field_of(file, "pre_tokenizer"), &parts.cuts, &byte_level));
  if (type == "BPE") {
    TROUPE_ASSIGN_OR_RETURN(parts.model, read_bpe(model, source, byte_level));
  } else if (byte_level) {
    return bad_tokenizer("the pre_tokenizer ByteLevel with WordPiece is not supported");
  } else {
    TROUPE_ASSIGN_OR_RETURN(parts.model, read_word_piece(model, source));
  }
  TROUPE_ASSIGN_OR_RETURN(const PieceRules rules, read_decoder(field_of(file, "decoder")));
  fill_vocabulary(&source, rules, &parts);
  for (const Added& added : source.added) {
    AddedToken token = added.token;
    if (added.normalized && !parts.normalizers.empty()) {
      TROUPE_RETURN_IF_ERROR(normalize_text(parts.normalizers, &token.text));
      parts.added_normalized.add(std::move(token));
    } else {
      parts.added.add(std::move(token));
    }
  }
  bool around = false;
  TROUPE_RETURN_IF_ERROR(
      read_post_processor(field_of(file, "post_processor"), source, vocabulary, &around, &parts));
  TROUPE_RETURN_IF_ERROR(check_ids(parts.before, parts.vocabulary.size()));
  TROUPE_RETURN_IF_ERROR(check_ids(parts.after, parts.vocabulary.size()));
  const auto token = [&](const char* field) {
    const bool named = !field_of(config, field).is_null();
    return config_token(named ? config : special, field, source, vocabulary);
  };
  parts.bos = token("bos_token");
  parts.eos = token("eos_token");
  parts.pad = token("pad_token");
  if (!around) {
    TROUPE_ASSIGN_OR_RETURN(const bool add_bos,
                            json_flag(config, "add_bos_token", false, "the config"));
    TROUPE_ASSIGN_OR_RETURN(const bool add_eos,
                            json_flag(config, "add_eos_token", false, "the config"));
    if (add_bos && parts.bos >= 0) parts.before = {parts.bos};
    if (add_eos && parts.eos >= 0) parts.after = {parts.eos};
  }
  return parts;
}

Result<std::shared_ptr<const Tokenizer>> tokenizer_from_json(std::string_view tokenizer_json,
                                                             std::string_view config_json) {
  TROUPE_ASSIGN_OR_RETURN(TokenizerParts parts, json_parts(tokenizer_json, config_json, {}));
  return assemble(std::move(parts));
}

}  // namespace troupe::model
