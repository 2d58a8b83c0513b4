#include <algorithm>
#include <charconv>
#include <cmath>
#include <utility>

#include <troupe/model/tokenizer/tokenizer_json_steps.h>
#include <troupe/model/tokenizer/tokenizer_json_tokens.h>
#include <troupe/model/tokenizer/vocabulary.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model {

using nlohmann::json;

namespace {

// Ids may leave gaps, but a small file must not make a large table.
constexpr std::size_t kGapMax = 65536;

// Refuses two tokens with one id: nothing says which of them the id stands for.
Status two_of_one_id(const std::string& one, const std::string& other, TokenId id) {
  return bad_tokenizer("the tokens " + in_quotes(one, 40) + " and " + in_quotes(other, 40) +
                       " have the same id, " + std::to_string(id));
}

// Reads the flags of an added token. `special` is the value if the object has none.
Status read_flags(const json& object, bool special, const std::string& what, NamedToken* out) {
  AddedToken& token = out->token;
  TROUPE_ASSIGN_OR_RETURN(token.special, json_flag(object, "special", special, what));
  TROUPE_ASSIGN_OR_RETURN(token.single_word, json_flag(object, "single_word", false, what));
  TROUPE_ASSIGN_OR_RETURN(token.strips_left, json_flag(object, "lstrip", false, what));
  TROUPE_ASSIGN_OR_RETURN(token.strips_right, json_flag(object, "rstrip", false, what));
  TROUPE_ASSIGN_OR_RETURN(out->normalized, json_flag(object, "normalized", !token.special, what));
  return Status::ok();
}

}  // namespace

const json& json_field(const json& object, std::string_view field) {
  static const json kNone;
  const auto found = object.find(field);
  return found == object.end() ? kNone : *found;
}

Result<TokenId> json_token_id(const json& value, const std::string& where) {
  const bool fits = value.is_number_unsigned() &&
                    value.get<std::uint64_t>() < std::uint64_t{Vocabulary::kTokensMax};
  if (!fits) {
    return bad_tokenizer(where + " has the id " + in_quotes(value.dump()) + ", expected 0 to " +
                         std::to_string(Vocabulary::kTokensMax - 1));
  }
  return static_cast<TokenId>(value.get<std::uint64_t>());
}

Status TokenTable::read_vocabulary(const json& vocabulary) {
  if (!vocabulary.is_object() || vocabulary.empty()) {
    return bad_tokenizer("'model' has no object 'vocab' with tokens in it");
  }
  std::vector<bool> taken;
  const std::size_t most = vocabulary.size() * 4 + kGapMax;
  for (const auto& [text, value] : vocabulary.items()) {
    TROUPE_ASSIGN_OR_RETURN(const TokenId id, json_token_id(value, "the token " + in_quotes(text)));
    const auto index = static_cast<std::size_t>(id);
    if (index >= most) {
      return bad_tokenizer("the token " + in_quotes(text) + " has the id " + std::to_string(id) +
                           ", far beyond the " + std::to_string(vocabulary.size()) + " tokens");
    }
    if (index >= texts_.size()) {
      texts_.resize(index + 1);
      taken.resize(index + 1);
    }
    if (taken[index]) return two_of_one_id(texts_[index], text, id);
    taken[index] = true;
    texts_[index] = text;
    ids_.emplace(text, id);
  }
  vocabulary_size_ = vocabulary.size();
  return Status::ok();
}

Status TokenTable::read_scored_vocabulary(const json& vocabulary, std::vector<double>* scores) {
  if (!vocabulary.is_array() || vocabulary.empty())
    return bad_tokenizer("'model' has no list 'vocab' with tokens in it");
  if (vocabulary.size() > Vocabulary::kTokensMax)
    return bad_tokenizer("'vocab' has " + std::to_string(vocabulary.size()) + " tokens, expected " +
                         std::to_string(Vocabulary::kTokensMax) + " at most");
  for (const json& one : vocabulary) {
    const bool pair = one.is_array() && one.size() == 2 && one[0].is_string() && one[1].is_number();
    if (!pair || !std::isfinite(one[1].get<double>()))
      return bad_tokenizer("token " + std::to_string(texts_.size()) + " of 'vocab' is " +
                           in_quotes(one.dump(-1, ' ', false, json::error_handler_t::replace), 40) +
                           ", expected a text and a score");
    texts_.push_back(one[0].get<std::string>());
    scores->push_back(one[1].get<double>());
    ids_.insert_or_assign(texts_.back(), static_cast<TokenId>(texts_.size() - 1));
  }
  vocabulary_size_ = texts_.size();
  return Status::ok();
}

Status TokenTable::read_added(const json& list) {
  if (list.is_null()) return Status::ok();
  if (!list.is_array()) return bad_tokenizer("'added_tokens' is not a list");
  const std::size_t most = texts_.size() + list.size() + kGapMax;
  std::map<TokenId, std::string> by_id;
  for (const json& one : list) {
    const std::string where = "an added token";
    if (!one.is_object()) return bad_tokenizer(where + " is not an object");
    NamedToken added;
    TROUPE_ASSIGN_OR_RETURN(added.token.text, json_string(one, "content", where));
    const std::string what = "the added token " + in_quotes(added.token.text);
    TROUPE_ASSIGN_OR_RETURN(added.token.id, json_token_id(json_field(one, "id"), what));
    TROUPE_RETURN_IF_ERROR(read_flags(one, /*special=*/false, what, &added));
    const auto index = static_cast<std::size_t>(added.token.id);
    if (index >= most) {
      return bad_tokenizer(what + " has the id " + std::to_string(index) + ", far beyond the " +
                           std::to_string(texts_.size()) + " tokens");
    }
    const auto [namesake, is_new] = by_id.emplace(added.token.id, added.token.text);
    if (!is_new && namesake->second != added.token.text) {
      return two_of_one_id(namesake->second, added.token.text, added.token.id);
    }
    const std::string* known = index < texts_.size() ? &texts_[index] : nullptr;
    if (known != nullptr && !known->empty() && *known != added.token.text) {
      return two_of_one_id(*known, added.token.text, added.token.id);
    }
    added_ids_[added.token.text] = added.token.id;
    added_.push_back(std::move(added));
  }
  return Status::ok();
}

TokenId TokenTable::find(std::string_view text) const {
  if (const auto found = added_ids_.find(text); found != added_ids_.end()) return found->second;
  const auto found = ids_.find(text);
  return found == ids_.end() ? -1 : found->second;
}

bool TokenTable::has_added(TokenId id) const {
  return std::any_of(added_.begin(), added_.end(),
                     [&](const NamedToken& one) { return one.token.id == id; });
}

void TokenTable::add(NamedToken named) {
  if (named.token.text.empty()) return;
  named.token.id = find(named.token.text);
  if (named.token.id < 0) {
    TokenId next = static_cast<TokenId>(vocabulary_size_);
    for (const NamedToken& one : added_) next = std::max(next, one.token.id + 1);
    named.token.id = next;
  }
  added_ids_[named.token.text] = named.token.id;
  for (NamedToken& one : added_) {
    if (one.token.text != named.token.text) continue;
    one = std::move(named);
    return;
  }
  added_.push_back(std::move(named));
}

std::string special_token_text(const json& value) {
  const json& text = value.is_object() ? json_field(value, "content") : value;
  return text.is_string() ? text.get<std::string>() : std::string();
}

namespace {

constexpr const char* kDecoder = "added_tokens_decoder";
constexpr const char* kExtra = "extra_special_tokens";
constexpr const char* kAdditional = "additional_special_tokens";
constexpr std::size_t kFolderTokensMax = 65536;

Status bad_file(const std::string& what) { return Status(Code::kBadData, what); }

// Reads "added_tokens_decoder", an object of ids and tokens. The ids only give the order of the
// tokens: a token without an id in tokenizer.json gets the next free one.
Status add_decoder_tokens(const json& decoder, TokenTable* table) {
  if (!decoder.is_object()) {
    return bad_file("tokenizer_config.json: '" + std::string(kDecoder) + "' is not an object");
  }
  std::map<std::uint64_t, NamedToken> tokens;
  for (const auto& [key, value] : decoder.items()) {
    const std::string what =
        "tokenizer_config.json: the entry " + in_quotes(key, 40) + " of '" + kDecoder + "'";
    std::uint64_t id = 0;
    const auto parsed = std::from_chars(key.data(), key.data() + key.size(), id);
    if (parsed.ec != std::errc() || parsed.ptr != key.data() + key.size()) {
      return bad_file(what + " is not a token id");
    }
    NamedToken& named = tokens[id];
    named.token.text = special_token_text(value);
    if (!value.is_object() || named.token.text.empty()) {
      return bad_file(what + " is not an object with a text 'content'");
    }
    TROUPE_RETURN_IF_ERROR(read_flags(value, /*special=*/false, what, &named));
  }
  for (auto& [id, named] : tokens) table->add(std::move(named));
  return Status::ok();
}

bool names_token(const std::string& key) {
  return key.ends_with("_token") && !key.starts_with("add_");
}

// Returns the special tokens that a merged configuration names, in the order in which they get ids.
std::vector<json> special_tokens(const json& merged) {
  static constexpr const char* kNamed[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                           "pad_token", "cls_token", "mask_token"};
  std::vector<json> tokens;
  for (const char* name : kNamed) tokens.push_back(json_field(merged, name));
  for (const auto& [key, value] : merged.items()) {
    const bool common = std::find(std::begin(kNamed), std::end(kNamed), key) != std::end(kNamed);
    if (!common && names_token(key)) tokens.push_back(value);
  }
  const json& extra = json_field(merged, json_field(merged, kExtra).empty() ? kAdditional : kExtra);
  if (extra.is_array() || extra.is_object())
    tokens.insert(tokens.end(), extra.begin(), extra.end());
  return tokens;
}

}  // namespace

Result<json> add_folder_tokens(const json& config, const json& special_tokens_map,
                               const json& added_tokens, TokenTable* table) {
  json merged = config;
  const bool has_decoder = config.contains(kDecoder);
  if (!has_decoder) {
    for (const auto& [key, value] : special_tokens_map.items()) {
      if (key == kExtra && value.is_array() && json_field(merged, kExtra).is_array()) {
        merged[kExtra].insert(merged[kExtra].end(), value.begin(), value.end());
      } else if (key != kAdditional || json_field(merged, kAdditional).empty()) {
        merged[key] = value;
      }
    }
  }
  const std::vector<json> specials = special_tokens(merged);
  if (specials.size() + added_tokens.size() + json_field(config, kDecoder).size() >
      kFolderTokensMax) {
    return bad_file("tokenizer_config.json and the files beside it name more than " +
                    std::to_string(kFolderTokensMax) + " special tokens");
  }
  if (has_decoder) {
    TROUPE_RETURN_IF_ERROR(add_decoder_tokens(config[kDecoder], table));
  } else {
    std::map<TokenId, std::string> by_id;
    for (const auto& [text, value] : added_tokens.items()) {
      TROUPE_ASSIGN_OR_RETURN(
          const TokenId id,
          json_token_id(value, "the token " + in_quotes(text, 40) + " of added_tokens.json"));
      if (!table->has_added(id)) by_id[id] = text;
    }
    for (const auto& [id, text] : by_id) {
      NamedToken named;
      named.token.text = text;
      named.token.special =
          std::any_of(specials.begin(), specials.end(),
                      [&text = text](const json& one) { return special_token_text(one) == text; });
      named.normalized = !named.token.special;
      table->add(std::move(named));
    }
  }
  for (const json& one : specials) {
    NamedToken named;
    named.token.text = special_token_text(one);
    if (named.token.text.empty() || table->is_added(named.token.text)) continue;
    if (one.is_object()) {
      TROUPE_RETURN_IF_ERROR(
          read_flags(one, true, "the special token " + in_quotes(named.token.text, 40), &named));
      named.token.special = true;
    }
    table->add(std::move(named));
  }
  return merged;
}

}  // namespace troupe::model
