#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <nlohmann/json.hpp>

#include <troupe/model/files/header_keys.h>
#include <troupe/model/tokenizer/around.h>
#include <troupe/model/tokenizer/normalizer.h>
#include <troupe/model/tokenizer/open_tokenizer.h>
#include <troupe/model/tokenizer/vocabulary.h>
#include <troupe/model/training/gguf_encoder_tokenizer.h>
#include <troupe/model/training/gguf_tokenizer_keys.h>
#include <troupe/model/training/text_limits.h>
#include <troupe/runtime/text/base64.h>
#include <troupe/runtime/text/bounded_json.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model {
namespace {

using nlohmann::json;

constexpr const char* kTokensKey = "tokenizer.ggml.tokens";
constexpr const char* kTypesKey = "tokenizer.ggml.token_type";
constexpr std::string_view kContinuation = "##";  // before the later pieces of a word

// Texts whose ids show what a tokenizer does to a text. They have no spaces at their ends, because
// SentencePiece drops those, but not every tokenizer.json that was made from its models does.
constexpr const char* kProbes[] = {"Hello world",
                                   "HELLO Größe ÀÉÎ ñandú İstanbul",
                                   "some  double   spaces",
                                   "你好，世界 漢字かな交じり文 한국어",
                                   "ﬁne ½ ① ™ Ⅳ ａｂｃ",
                                   "don't stop-now 12,345.67! (ok?) a_b #tag @you",
                                   "naïve café – “quotes” …",
                                   "مرحبا بالعالم Привет мир שלום नमस्ते ไทย",
                                   "supercalifragilisticexpialidociousness",
                                   "x"};
// The same for tokenizers without a map of characters: Python's `tokenizers` does not apply such a
// map to characters of several code points in the way that SentencePiece does.
constexpr const char* kProbesOfMarks[] = {"tabs\tand\nnew\r\nlines", "x\u00a0y",
                                          "e\u0301 \u0130 \U0001F600 \u200d\u00ad"};

Status no_gguf_for(const std::string& what) {
  return Status(Code::kFailedPrecondition, "the folder's tokenizer cannot be written as GGUF: " +
                                               what + "; convert the model to safetensors instead");
}

bool same_ids(const Tokenizer& one, const Tokenizer& other, std::string_view text) {
  EncodeOptions options;
  options.parse_special = false;
  const auto ours = one.encode(text, options), theirs = other.encode(text, options);
  return ours.is_ok() && theirs.is_ok() && *ours == *theirs;
}

// Says whether the tokenizer of the new keys gives the ids of `wanted` for every probe.
bool reads_back(const GgufMetadata& keys, std::size_t vocabulary, const Tokenizer& wanted,
                bool has_charsmap) {
  GgufHeader made;
  made.metadata = keys;
  const auto tokenizer = open_tokenizer(made, vocabulary);
  if (!tokenizer.is_ok()) return false;
  const auto same = [&](const char* text) { return same_ids(**tokenizer, wanted, text); };
  return std::all_of(std::begin(kProbes), std::end(kProbes), same) &&
         (has_charsmap || std::all_of(std::begin(kProbesOfMarks), std::end(kProbesOfMarks), same));
}

const std::vector<std::string>& tokens_in(const GgufMetadata& keys) {
  return std::get<std::vector<std::string>>(keys.find(kTokensKey)->second);
}

// Returns the id of the token with this text, if it is markup.
std::optional<std::uint32_t> id_of(const GgufMetadata& keys,
                                   std::initializer_list<std::string_view> texts) {
  const auto& tokens = tokens_in(keys);
  for (const std::string_view text : texts) {
    const auto found = std::find(tokens.begin(), tokens.end(), text);
    if (found != tokens.end()) return static_cast<std::uint32_t>(found - tokens.begin());
  }
  return std::nullopt;
}

// Adds the tokens that encoders know by their purpose. The token before a text is both its
// beginning and its class; "seperator" is GGUF's own spelling.
void add_encoder_marks(TokenId before, TokenId after, const Tokenizer& tokenizer,
                       GgufMetadata* out) {
  for (const char* key : {"bos", "cls"})
    (*out)["tokenizer.ggml." + std::string(key) + "_token_id"] = static_cast<std::uint32_t>(before);
  for (const char* key : {"eos", "seperator"})
    (*out)["tokenizer.ggml." + std::string(key) + "_token_id"] = static_cast<std::uint32_t>(after);
  (*out)["tokenizer.ggml.add_bos_token"] = (*out)["tokenizer.ggml.add_eos_token"] = true;
  const auto put = [&](const char* key, std::optional<std::uint32_t> id) {
    if (id) (*out)["tokenizer.ggml." + std::string(key) + "_token_id"] = *id;
  };
  put("unknown", id_of(*out, {"[UNK]", "<unk>"}));
  put("mask", id_of(*out, {"[MASK]", "<mask>"}));
  put("padding", tokenizer.pad() >= 0 ? std::optional(static_cast<std::uint32_t>(tokenizer.pad()))
                                      : id_of(*out, {"[PAD]", "<pad>"}));
}

// Marks the beginnings of words, as GGUF does, instead of their continuations.
void mark_beginnings(GgufMetadata* out) {
  auto& tokens = std::get<std::vector<std::string>>((*out)[kTokensKey]);
  const auto& types = std::get<std::vector<std::int64_t>>((*out)[kTypesKey]);
  for (std::size_t id = 0; id < tokens.size(); ++id) {
    if (types[id] != static_cast<std::int64_t>(TokenType::kNormal)) continue;
    if (tokens[id].starts_with(kContinuation) && tokens[id].size() > kContinuation.size()) {
      tokens[id].erase(0, kContinuation.size());
    } else {
      tokens[id].insert(0, kSpaceMark);
    }
  }
}

Status add_word_pieces(const json& file, std::size_t vocabulary, GgufMetadata* out) {
  if (file["model"].value("continuing_subword_prefix", std::string(kContinuation)) != kContinuation)
    return no_gguf_for("its later pieces of words do not begin with ##");
  TROUPE_RETURN_IF_ERROR(add_gguf_tokens(file, vocabulary, out));
  mark_beginnings(out);
  (*out)["tokenizer.ggml.model"] = std::string("bert");
  (*out)["tokenizer.ggml.pre"] = std::string("default");
  return Status::ok();
}

// Returns the map of characters of a normalizer, or of one of its steps.
Result<std::string> charsmap_of(const json& step) {
  if (!step.is_object()) return std::string();
  if (step.value("type", "") == "Precompiled") {
    const auto bytes = from_base64(step.at("precompiled_charsmap").get<std::string>());
    if (!bytes) return no_gguf_for("its map of characters is not base64");
    return *bytes;
  }
  if (step.contains("normalizers"))
    for (const json& one : step["normalizers"]) {
      TROUPE_ASSIGN_OR_RETURN(std::string bytes, charsmap_of(one));
      if (!bytes.empty()) return bytes;
    }
  return std::string();
}

Status add_unigrams(const json& file, std::size_t vocabulary, GgufMetadata* out) {
  const json& model = file["model"];
  if (model.value("byte_fallback", false)) return no_gguf_for("it falls back to bytes");
  const json& entries = model.at("vocab");
  // Treats the list of texts and scores as a vocabulary of texts and ids.
  json plain = file;
  plain["model"]["vocab"] = json::object();
  std::vector<double> scores(vocabulary, -10000.0);
  for (std::size_t id = 0; id < entries.size(); ++id) {
    plain["model"]["vocab"][entries[id].at(0).get<std::string>()] = id;
    if (id < vocabulary) scores[id] = entries[id].at(1).get<double>();
  }
  TROUPE_RETURN_IF_ERROR(add_gguf_tokens(plain, vocabulary, out));
  if (model.contains("unk_id") && model["unk_id"].is_number_unsigned()) {
    auto& types = std::get<std::vector<std::int64_t>>((*out)[kTypesKey]);
    const auto unknown = model["unk_id"].get<std::uint64_t>();
    if (unknown < types.size()) types[unknown] = static_cast<std::int64_t>(TokenType::kUnknown);
  }
  (*out)["tokenizer.ggml.model"] = std::string("t5");
  (*out)["tokenizer.ggml.pre"] = std::string("default");
  (*out)["tokenizer.ggml.scores"] = std::move(scores);
  TROUPE_ASSIGN_OR_RETURN(const std::string charsmap,
                          charsmap_of(file.value("normalizer", json())));
  if (!charsmap.empty()) {
    std::vector<std::int64_t> bytes;
    for (const char byte : charsmap) bytes.push_back(static_cast<unsigned char>(byte));
    (*out)["tokenizer.ggml.precompiled_charsmap"] = std::move(bytes);
  }
  return Status::ok();
}

// Chooses what a unigram model does to spaces, so that the ids are those of `wanted`.
bool choose_spaces(std::size_t vocabulary, const Tokenizer& wanted, GgufMetadata* out) {
  const bool has_charsmap = out->contains("tokenizer.ggml.precompiled_charsmap");
  for (const bool adds : {true, false})
    for (const bool removes : {true, false}) {
      (*out)["tokenizer.ggml.add_space_prefix"] = adds;
      (*out)["tokenizer.ggml.remove_extra_whitespaces"] = removes;
      if (reads_back(*out, vocabulary, wanted, has_charsmap)) return true;
    }
  return false;
}

Status add_encoder_parts(const GgufHeader& folder, std::size_t vocabulary, GgufMetadata* out) {
  TROUPE_ASSIGN_OR_RETURN(const std::string text, folder.string(header_keys::kTokenizerJson));
  TROUPE_ASSIGN_OR_RETURN(const json file, parse_json(text, "tokenizer.json", kTextLimits));
  TROUPE_ASSIGN_OR_RETURN(const auto tokenizer, open_tokenizer(folder, vocabulary));
  TROUPE_ASSIGN_OR_RETURN(const TokensAround around, tokens_around(*tokenizer));
  if (around.before.size() != 1 || around.after.size() != 1)
    return no_gguf_for("it does not put one token before a text and one behind it");
  const std::string type = file.contains("model") ? file["model"].value("type", "") : "";
  if (type == "WordPiece") {
    TROUPE_RETURN_IF_ERROR(add_word_pieces(file, vocabulary, out));
  } else if (type == "Unigram") {
    TROUPE_RETURN_IF_ERROR(add_unigrams(file, vocabulary, out));
  } else {
    TROUPE_RETURN_IF_ERROR(add_gguf_bpe(file, vocabulary, out));
  }
  add_encoder_marks(around.before.front(), around.after.front(), *tokenizer, out);
  const bool same = type == "Unigram"
                        ? choose_spaces(vocabulary, *tokenizer, out)
                        : reads_back(*out, vocabulary, *tokenizer, /*has_charsmap=*/false);
  if (same) return Status::ok();
  return no_gguf_for(
      type == "WordPiece"
          ? "GGUF has no key for what it does to capital letters and accents; programs that read "
            "the file lower-case if no token has a capital letter, and this tokenizer differs"
          : "GGUF has no keys for all that it does to a text before it cuts it");
}

}  // namespace

Status add_gguf_encoder_tokenizer(const GgufHeader& folder, std::size_t vocabulary,
                                  GgufMetadata* out) {
  if (!has_tokenizer(folder)) return Status::ok();
  try {
    return add_encoder_parts(folder, vocabulary, out);
  } catch (const json::exception& error) {
    return no_gguf_for(error.what());
  }
}

}  // namespace troupe::model
