#include <algorithm>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <troupe/model/tokenizer/bpe_model.h>
#include <troupe/model/tokenizer/tokenizer_json.h>
#include <troupe/model/tokenizer/tokenizer_json_steps.h>
#include <troupe/model/tokenizer/tokenizer_json_tokens.h>
#include <troupe/model/tokenizer/unigram.h>
#include <troupe/model/tokenizer/vocabulary.h>
#include <troupe/model/tokenizer/word_piece.h>
#include <troupe/runtime/text/bounded_json.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model {
namespace {

using nlohmann::json;

constexpr JsonLimits kLimits = {
    .bytes_max = std::size_t{256} << 20, .depth_max = 64, .python = true};
const json kNoJson;
Status refuse_set(const json& model, const char* field) {
  const json& value = json_field(model, field);
  const bool unset = value.is_null() || value == json("") || value == json(0.0);
  if (unset) return Status::ok();
  return bad_tokenizer("'model' has '" + std::string(field) + "': " + in_quotes(value.dump()) +
                       ", which is not supported");
}

Result<std::unique_ptr<const WordModel>> read_bpe(const json& model, const TokenTable& table,
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
  if (const json& unknown = json_field(model, "unk_token"); unknown.is_string()) {
    options.unknown = table.find(unknown.get<std::string>());
  }
  const json& list = json_field(model, "merges");
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
  auto made = std::make_unique<BpeModel>(options, table.texts());
  TROUPE_RETURN_IF_ERROR(
      made->load_merges(merges, /*parts_may_be_unknown=*/false, "tokenizer.json"));
  return std::unique_ptr<const WordModel>(std::move(made));
}

Result<std::unique_ptr<const WordModel>> read_word_piece(const json& model,
                                                         const TokenTable& table) {
  WordPieceModel::Options options;
  TROUPE_ASSIGN_OR_RETURN(const std::string unknown, json_string(model, "unk_token", "'model'"));
  options.unknown = table.find(unknown);
  if (options.unknown < 0) {
    return bad_tokenizer("the unk_token " + in_quotes(unknown) + " is not a token");
  }
  TROUPE_ASSIGN_OR_RETURN(const std::string prefix,
                          json_string(model, "continuing_subword_prefix", "'model'"));
  if (const json& most = json_field(model, "max_input_chars_per_word"); !most.is_null()) {
    if (!most.is_number_unsigned()) {
      return bad_tokenizer("'max_input_chars_per_word' is " + in_quotes(most.dump()) +
                           ", expected a number");
    }
    options.characters_max = most.get<std::size_t>();
  }
  auto made = std::make_unique<WordPieceModel>(options);
  for (std::size_t i = 0; i < table.texts().size(); ++i) {
    const std::string_view text = table.texts()[i];
    const auto id = static_cast<TokenId>(i);
    made->add_start(text, id);
    if (text.starts_with(prefix)) made->add_continuation(text.substr(prefix.size()), id);
  }
  return std::unique_ptr<const WordModel>(std::move(made));
}

// Returns the tokens that a text never has, because only a chat template or a post_processor writes
// them.
std::set<std::string_view> markup_of(const TokenTable& table) {
  std::set<std::string_view> markup;
  for (const NamedToken& added : table.added())
    if (added.token.special) markup.insert(added.token.text);
  for (const std::string& text : table.texts())
    if (is_end_markup(text)) markup.insert(text);
  return markup;
}

// Reads a Unigram model. Markup is looked for before the text is cut into words. In the crate
// `tokenizers`, a text that normalizing turns into the markup's letters becomes the token, too;
// here and in SentencePiece it stays plain text.
Result<std::unique_ptr<const WordModel>> read_unigram(const json& model, const TokenTable& table,
                                                      const std::vector<double>& scores) {
  constexpr double kUnknownPenalty = 10.0;
  UnigramModel::Options options;
  TROUPE_ASSIGN_OR_RETURN(options.byte_fallback,
                          json_flag(model, "byte_fallback", false, "'model'"));
  const json& unknown = json_field(model, "unk_id");
  if (unknown.is_null())
    return bad_tokenizer(
        "'model' has no 'unk_id', the token for characters that have none of their own");
  TROUPE_ASSIGN_OR_RETURN(options.unknown, json_token_id(unknown, "'unk_id'"));
  if (static_cast<std::size_t>(options.unknown) >= scores.size())
    return bad_tokenizer("the 'unk_id' " + std::to_string(options.unknown) + " is none of the " +
                         std::to_string(scores.size()) + " tokens");
  options.unknown_score = *std::min_element(scores.begin(), scores.end()) - kUnknownPenalty;
  auto made = std::make_unique<UnigramModel>(options);
  const std::set<std::string_view> markup = markup_of(table);
  for (std::size_t i = 0; i < scores.size(); ++i) {
    const std::string& text = table.texts()[i];
    const auto id = static_cast<TokenId>(i);
    if (const int byte = fallback_byte(text); byte >= 0)
      made->set_byte(static_cast<unsigned char>(byte), id);
    if (!text.empty() && !markup.contains(text)) made->add(text, id, scores[i]);
  }
  return std::unique_ptr<const WordModel>(std::move(made));
}

// Reads the tokens that go around a text: [{"SpecialToken": {"id": "[CLS]"}}, {"Sequence": ...},
// ...].
Status read_template(const json& step, const TokenTable& table, TokenizerParts* parts) {
  const json& single = json_field(step, "single");
  if (!single.is_array()) return bad_tokenizer("the post_processor has no list 'single'");
  const json& names = json_field(step, "special_tokens");
  bool seen_text = false;
  for (const json& one : single) {
    if (one.is_object() && one.contains("Sequence")) {
      if (seen_text) return bad_tokenizer("the post_processor puts the text in twice");
      seen_text = true;
      continue;
    }
    const json& token = one.is_object() ? json_field(one, "SpecialToken") : kNoJson;
    if (!token.is_object())
      return bad_tokenizer("the post_processor has a piece that is not known");
    TROUPE_ASSIGN_OR_RETURN(const std::string name,
                            json_string(token, "id", "a piece of the post_processor"));
    std::vector<TokenId>& side = seen_text ? parts->after : parts->before;
    const json& ids =
        names.is_object() ? json_field(json_field(names, name.c_str()), "ids") : kNoJson;
    if (ids.is_array()) {
      for (const json& value : ids) {
        TROUPE_ASSIGN_OR_RETURN(const TokenId id, json_token_id(value, "the post_processor"));
        side.push_back(id);
      }
      continue;
    }
    side.push_back(table.find(name));
  }
  if (!seen_text) return bad_tokenizer("the post_processor leaves the text out");
  return Status::ok();
}

// Sets `found` if a step says which tokens go around a text.
Status read_post_processor(const json& step, const TokenTable& table, bool* found,
                           TokenizerParts* parts, int depth = 0) {
  if (step.is_null()) return Status::ok();
  if (!step.is_object()) return bad_tokenizer("the post_processor is not an object");
  TROUPE_ASSIGN_OR_RETURN(const std::string type, json_string(step, "type", "the post_processor"));
  if (type == "ByteLevel") return Status::ok();
  if (type == "Sequence") {
    const json& list = json_field(step, "processors");
    if (!list.is_array() || depth > 4)
      return bad_tokenizer("the post_processor has no 'processors'");
    for (const json& one : list) {
      TROUPE_RETURN_IF_ERROR(read_post_processor(one, table, found, parts, depth + 1));
    }
    return Status::ok();
  }
  if (*found) return bad_tokenizer("the post_processor says twice what goes around a text");
  *found = true;
  if (type == "TemplateProcessing") return read_template(step, table, parts);
  if (type != "BertProcessing" && type != "RobertaProcessing") {
    return bad_tokenizer("the post_processor has the type " + in_quotes(type) +
                         ", which is not supported");
  }
  for (const char* side : {"cls", "sep"}) {
    const json& pair = json_field(step, side);
    if (!pair.is_array() || pair.size() != 2) {
      return bad_tokenizer("the post_processor has no pair '" + std::string(side) + "'");
    }
    TROUPE_ASSIGN_OR_RETURN(const TokenId id, json_token_id(pair[1], "the post_processor"));
    (side[0] == 'c' ? parts->before : parts->after).push_back(id);
  }
  return Status::ok();
}

// `text` is empty if there is no such file.
Result<json> read_object(std::string_view text, const std::string& file) {
  if (text.empty()) return json::object();
  TROUPE_ASSIGN_OR_RETURN(json object, parse_json(text, file, kLimits));
  if (!object.is_object())
    return Status(Code::kBadData,
                  file + ": the text is not an object; take the file from where the model is from");
  return object;
}

Status check_ids(const std::vector<TokenId>& ids, std::size_t tokens) {
  for (const TokenId id : ids) {
    if (id < 0 || static_cast<std::size_t>(id) >= tokens) {
      return bad_tokenizer("the post_processor names a token that is not there");
    }
  }
  return Status::ok();
}

void fill_vocabulary(const TokenTable& table, const PieceRules& rules, TokenizerParts* parts) {
  std::vector<std::string> texts = table.texts();
  std::vector<TokenType> types(texts.size(), TokenType::kNormal);
  for (std::size_t i = 0; i < types.size(); ++i) {
    if (texts[i].empty()) types[i] = TokenType::kUnused;
    if (is_end_markup(texts[i])) types[i] = TokenType::kControl;
  }
  for (const NamedToken& added : table.added()) {
    const auto index = static_cast<std::size_t>(added.token.id);
    if (index >= types.size()) {
      types.resize(index + 1, TokenType::kUnused);
      texts.resize(index + 1);
    }
    const bool markup = added.token.special || is_end_markup(added.token.text);
    types[index] = markup ? TokenType::kControl : TokenType::kUserDefined;
    texts[index] = added.token.text;
  }
  for (std::size_t i = 0; i < types.size(); ++i) {
    const bool added = types[i] == TokenType::kControl || types[i] == TokenType::kUserDefined;
    const bool apart = rules.joins_words || rules.space_between;
    const std::string piece = added ? (apart ? " " : "") + texts[i] : piece_of(texts[i], rules);
    parts->vocabulary.add(types[i], piece);
  }
  parts->drops_first_space = rules.drops_first_space;
}

// True for the tokenizer classes of transformers that take the flags of their BertNormalizer from
// tokenizer_config.json. What tokenizer.json says about these depends on the version that saved it.
bool has_bert_flags(const json& config, std::string_view config_json) {
  static constexpr std::string_view kClasses[] = {
      "Bert",        "DistilBert", "Electra",  "MPNet",  "MobileBert",
      "SqueezeBert", "ConvBert",   "LayoutLM", "Lxmert", "Funnel"};
  static constexpr std::string_view kModels[] = {
      "bert",        "distilbert", "electra",  "mpnet",  "mobilebert",
      "squeezebert", "convbert",   "layoutlm", "lxmert", "funnel"};
  const auto is_one_of = [](std::string_view name, std::span<const std::string_view> names) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  const json& given = json_field(config, "tokenizer_class");
  if (given.is_string()) {
    std::string_view name = given.get_ref<const std::string&>();
    if (name.ends_with("Fast")) name.remove_suffix(4);
    if (!name.ends_with("Tokenizer")) return false;
    name.remove_suffix(std::string_view("Tokenizer").size());
    return is_one_of(name, kClasses);
  }
  const Result<json> model = read_object(config_json, "config.json");
  const json& type = model.is_ok() ? json_field(*model, "model_type") : kNoJson;
  return type.is_string() && is_one_of(type.get_ref<const std::string&>(), kModels);
}

// Returns the normalizer of tokenizer.json, or a BertNormalizer with the flags of
// tokenizer_config.json if the model's tokenizer class makes its own.
json normalizer_step(const json& file, const json& config, std::string_view config_json) {
  const json& step = json_field(file, "normalizer");
  const bool bert = step.is_object() && json_field(step, "type") == "BertNormalizer";
  if (!bert || !has_bert_flags(config, config_json)) return step;
  const auto flag = [&](const char* name, json fallback) {
    const json& given = json_field(config, name);
    return given.is_null() ? fallback : given;
  };
  return {{"type", "BertNormalizer"},
          {"clean_text", true},
          {"handle_chinese_chars", flag("tokenize_chinese_chars", true)},
          {"strip_accents", flag("strip_accents", nullptr)},
          {"lowercase", flag("do_lower_case", true)}};
}

// Splits the added tokens into those that are looked for in the given text and those in the
// normalized text.
Status fill_added(const TokenTable& table, TokenizerParts* parts) {
  for (const NamedToken& added : table.added()) {
    AddedToken token = added.token;
    // A user's text must not end an answer, whatever the file says about the mark.
    token.special = token.special || is_end_markup(token.text);
    if (added.normalized && !parts->normalizers.empty()) {
      TROUPE_RETURN_IF_ERROR(normalize_text(parts->normalizers, &token.text));
      parts->added_normalized.add(std::move(token));
    } else {
      parts->added.add(std::move(token));
    }
  }
  return Status::ok();
}

// Returns the type of the model, or "" if the type is not known.
std::string model_type(const json& model) {
  const json& type = json_field(model, "type");
  if (type.is_string()) return type.get<std::string>();
  if (model.contains("merges")) return "BPE";  // as old files have it
  return json_field(model, "vocab").is_array() ? "Unigram" : "";
}

Result<std::unique_ptr<const WordModel>> read_model(const json& model, const TokenTable& table,
                                                    const std::vector<double>& scores,
                                                    bool byte_level) {
  const std::string type = model_type(model);
  if (type == "BPE") return read_bpe(model, table, byte_level);
  if (type != "WordPiece" && type != "Unigram") {
    return bad_tokenizer("the model has the type " + in_quotes(type) +
                         ", which is not supported; BPE, WordPiece and Unigram are");
  }
  if (byte_level) {
    return bad_tokenizer("the pre_tokenizer ByteLevel with " + type + " is not supported");
  }
  return type == "Unigram" ? read_unigram(model, table, scores) : read_word_piece(model, table);
}

}  // namespace

Result<TokenizerParts> json_parts(const TokenizerFiles& files) {
  TROUPE_ASSIGN_OR_RETURN(const json file,
                          parse_json(files.tokenizer_json, "tokenizer.json", kLimits));
  TROUPE_ASSIGN_OR_RETURN(const json config,
                          read_object(files.tokenizer_config_json, "tokenizer_config.json"));
  TROUPE_ASSIGN_OR_RETURN(const json special,
                          read_object(files.special_tokens_map_json, "special_tokens_map.json"));
  TROUPE_ASSIGN_OR_RETURN(const json added,
                          read_object(files.added_tokens_json, "added_tokens.json"));
  const json& model = file.is_object() ? json_field(file, "model") : kNoJson;
  if (!model.is_object()) return bad_tokenizer("there is no object 'model'");
  TokenizerParts parts;
  TokenTable table;
  std::vector<double> scores;  // of a Unigram model
  if (model_type(model) == "Unigram") {
    TROUPE_RETURN_IF_ERROR(table.read_scored_vocabulary(json_field(model, "vocab"), &scores));
  } else {
    TROUPE_RETURN_IF_ERROR(table.read_vocabulary(json_field(model, "vocab")));
  }
  TROUPE_RETURN_IF_ERROR(table.read_added(json_field(file, "added_tokens")));
  TROUPE_ASSIGN_OR_RETURN(const json merged, add_folder_tokens(config, special, added, &table));
  TROUPE_RETURN_IF_ERROR(
      read_normalizers(normalizer_step(file, config, files.config_json), &parts.normalizers));
  bool byte_level = false;
  TROUPE_RETURN_IF_ERROR(read_cuts(json_field(file, "pre_tokenizer"), &parts.cuts, &byte_level));
  TROUPE_ASSIGN_OR_RETURN(parts.model, read_model(model, table, scores, byte_level));
  TROUPE_ASSIGN_OR_RETURN(const PieceRules rules, read_decoder(json_field(file, "decoder")));
  fill_vocabulary(table, rules, &parts);
  TROUPE_RETURN_IF_ERROR(fill_added(table, &parts));
  bool around = false;
  TROUPE_RETURN_IF_ERROR(
      read_post_processor(json_field(file, "post_processor"), table, &around, &parts));
  TROUPE_RETURN_IF_ERROR(check_ids(parts.before, parts.vocabulary.size()));
  TROUPE_RETURN_IF_ERROR(check_ids(parts.after, parts.vocabulary.size()));
  parts.bos = table.find(special_token_text(json_field(merged, "bos_token")));
  parts.eos = table.find(special_token_text(json_field(merged, "eos_token")));
  parts.pad = table.find(special_token_text(json_field(merged, "pad_token")));
  parts.ends.push_back(table.find(special_token_text(json_field(special, "eos_token"))));
  if (!around) {
    // transformers 5 ignores these flags where there is a tokenizer.json. The versions with which
    // the models of such folders were trained follow them, and so do the GGUF files that are made
    // from the folders.
    TROUPE_ASSIGN_OR_RETURN(const bool add_bos,
                            json_flag(config, "add_bos_token", false, "the config"));
    TROUPE_ASSIGN_OR_RETURN(const bool add_eos,
                            json_flag(config, "add_eos_token", false, "the config"));
    if (add_bos && parts.bos >= 0) parts.before = {parts.bos};
    if (add_eos && parts.eos >= 0) parts.after = {parts.eos};
  }
  return parts;
}

Result<std::shared_ptr<const Tokenizer>> tokenizer_from_json(const TokenizerFiles& files) {
  TROUPE_ASSIGN_OR_RETURN(TokenizerParts parts, json_parts(files));
  return assemble(std::move(parts));
}

}  // namespace troupe::model
