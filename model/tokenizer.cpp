#include <algorithm>
#include <array>
#include <deque>
#include <optional>
#include <utility>

#include <troupe/model/bpe.h>
#include <troupe/model/pre_tokenizer.h>
#include <troupe/model/string_index.h>
#include <troupe/model/tokenizer.h>
#include <troupe/model/utf8.h>

namespace troupe::model {
namespace {

// tokenizer.ggml.token_type
enum class TokenType : std::uint8_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6,
};

// Control tokens that end an answer in some family, whether or not the file lists them as such.
constexpr std::string_view kEndMarkup[] = {"<|im_end|>",
                                           "<|eot_id|>",
                                           "<|eom_id|>",
                                           "<|end|>",
                                           "<EOT>",
                                           "<|endoftext|>",
                                           "<|end_of_text|>",
                                           "<end_of_turn>",
                                           "<|return|>",
                                           "<|endofprompt|>",
                                           "<\xef\xbd\x9c"
                                           "end\xe2\x96\x81of\xe2\x96\x81sentence\xef\xbd\x9c>"};

// Byte-level BPE writes bytes as printable characters: printable Latin-1 stands for itself, the
// other 68 bytes are U+0100 and up, in order. Source: GPT-2's encoder.py, bytes_to_unicode.
constexpr std::size_t kAlphabetEnd = 0x100 + 68;
struct ByteAlphabet {
  std::array<std::int16_t, kAlphabetEnd> byte_of{};  // -1: not in the alphabet
  std::array<char16_t, 256> character_of{};
  constexpr ByteAlphabet() {
    byte_of.fill(-1);
    char16_t next = 0x100;
    for (int byte = 0; byte < 256; ++byte) {
      const bool printable =
          (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
      const char16_t character = printable ? static_cast<char16_t>(byte) : next++;
      character_of[static_cast<std::size_t>(byte)] = character;
      byte_of[character] = static_cast<std::int16_t>(byte);
    }
  }
};
constexpr ByteAlphabet kAlphabet;

// Appends the bytes that `encoded` stands for; a character outside the alphabet stands for itself.
void append_decoded(std::string_view encoded, std::string* out) {
  while (!encoded.empty()) {
    const Utf8Char next = utf8_char(encoded);
    const bool known = next.state == Utf8State::kWhole && next.code_point < kAlphabetEnd &&
                       kAlphabet.byte_of[next.code_point] >= 0;
    if (known) {
      out->push_back(static_cast<char>(kAlphabet.byte_of[next.code_point]));
    } else {
      *out += encoded.substr(0, next.bytes);
    }
    encoded.remove_prefix(next.bytes);
  }
}

Status bad(const std::string& sentence) { return Status(Code::kBadData, sentence); }

template <class T>
Result<const T*> array_of(const GgufHeader& header, std::string_view key) {
  const auto entry = header.metadata.find(key);
  if (entry == header.metadata.end()) {
    return bad("the metadata key " + in_quotes(key) + " is missing");
  }
  const T* values = std::get_if<T>(&entry->second);
  if (values == nullptr) {
    return bad("the metadata value of " + in_quotes(key) + " is not an array of the expected type");
  }
  return values;
}

class BpeTokenizer final : public Tokenizer {
 public:
  Status load(const GgufHeader& header) {
    TROUPE_ASSIGN_OR_RETURN(const std::string kind, header.string("tokenizer.ggml.model"));
    if (kind != "gpt2") {
      return bad("tokenizer.ggml.model is " + in_quotes(kind) +
                 ", which is not supported; 'gpt2' (byte-level BPE) is");
    }
    TROUPE_ASSIGN_OR_RETURN(const std::string pre, header.string("tokenizer.ggml.pre"));
    TROUPE_ASSIGN_OR_RETURN(pre_tokenizer_, PreTokenizer::find(pre));
    TROUPE_ASSIGN_OR_RETURN(const auto* tokens,
                            array_of<std::vector<std::string>>(header, "tokenizer.ggml.tokens"));
    TROUPE_ASSIGN_OR_RETURN(const auto* merges,
                            array_of<std::vector<std::string>>(header, "tokenizer.ggml.merges"));
    TROUPE_RETURN_IF_ERROR(load_types(header, tokens->size()));
    load_pieces(*tokens);
    StringIndex encoded(tokens->size());
    for (std::size_t i = 0; i < tokens->size(); ++i) {
      encoded.put((*tokens)[i], static_cast<TokenId>(i));
    }
    load_bytes(encoded);
    TROUPE_RETURN_IF_ERROR(load_merges(*tokens, *merges, &encoded));
    load_special();
    return load_ids(header, encoded);
  }

  Result<std::vector<TokenId>> encode(std::string_view text,
                                      const EncodeOptions& options) const override {
    const std::size_t valid = utf8_valid_prefix(text);
    if (valid != text.size()) {
      return Status(Code::kInvalidArgument, "the text is not UTF-8: byte " + std::to_string(valid) +
                                                " is not part of a character");
    }
    std::vector<TokenId> ids;
    ids.reserve(text.size() / 3 + 2);
    if (options.add_special && add_bos_) ids.push_back(bos_);
    std::size_t plain_begin = 0, at = 0;
    while (at < text.size()) {
      const TokenId special = special_at(text.substr(at), options.parse_special);
      if (special < 0) {
        ++at;
        continue;
      }
      TROUPE_RETURN_IF_ERROR(encode_plain(text.substr(plain_begin, at - plain_begin), &ids));
      ids.push_back(special);
      at += piece_of(special).size();
      plain_begin = at;
    }
    TROUPE_RETURN_IF_ERROR(encode_plain(text.substr(plain_begin), &ids));
    if (options.add_special && add_eos_) ids.push_back(eos_);
    return ids;
  }

  Result<std::string> piece(TokenId id, bool with_special) const override {
    if (id < 0 || static_cast<std::size_t>(id) >= types_.size()) {
      return Status(Code::kInvalidArgument, "token id " + std::to_string(id) +
                                                " is outside the vocabulary of " +
                                                std::to_string(types_.size()) + " tokens");
    }
    const TokenType type = types_[static_cast<std::size_t>(id)];
    const bool plain =
        type == TokenType::kNormal || type == TokenType::kUserDefined || type == TokenType::kByte;
    return plain || with_special ? std::string(piece_of(id)) : std::string();
  }

  std::size_t vocabulary() const override { return types_.size(); }
  bool is_end(TokenId id) const override {
    return std::binary_search(ends_.begin(), ends_.end(), id);
  }
  std::vector<TokenId> end_tokens() const override { return ends_; }
  TokenId bos() const override { return bos_; }
  TokenId eos() const override { return eos_; }

 private:
  std::string_view piece_of(TokenId id) const {
    const auto index = static_cast<std::size_t>(id);
    return std::string_view(bytes_).substr(begins_[index], begins_[index + 1] - begins_[index]);
  }

  Status load_types(const GgufHeader& header, std::size_t count) {
    if (count == 0 || count > kTokensMax) {
      return bad("tokenizer.ggml.tokens has " + std::to_string(count) + " tokens, expected 1 to " +
                 std::to_string(kTokensMax));
    }
    types_.assign(count, TokenType::kNormal);
    if (!header.metadata.contains("tokenizer.ggml.token_type")) return Status::ok();
    TROUPE_ASSIGN_OR_RETURN(const auto* types, array_of<std::vector<std::int64_t>>(
                                                   header, "tokenizer.ggml.token_type"));
    if (types->size() != count) {
      return bad("tokenizer.ggml.token_type has " + std::to_string(types->size()) +
                 " entries, tokenizer.ggml.tokens " + std::to_string(count));
    }
    for (std::size_t i = 0; i < count; ++i) {
      if ((*types)[i] < 1 || (*types)[i] > 6) {
        return bad("tokenizer.ggml.token_type of token " + std::to_string(i) + " is " +
                   std::to_string((*types)[i]) + ", expected 1 to 6");
      }
      types_[i] = static_cast<TokenType>((*types)[i]);
    }
    return Status::ok();
  }

  void load_pieces(const std::vector<std::string>& tokens) {
    begins_.reserve(tokens.size() + 1);
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      begins_.push_back(bytes_.size());
      if (types_[i] == TokenType::kNormal) {
        append_decoded(tokens[i], &bytes_);
      } else {
        bytes_ += tokens[i];
      }
    }
    begins_.push_back(bytes_.size());
    if (!pre_tokenizer_->whole_words()) return;
    words_.emplace(tokens.size());
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      const auto id = static_cast<TokenId>(i);
      if (types_[i] == TokenType::kNormal) words_->put(piece_of(id), id);
    }
  }

  void load_bytes(const StringIndex& encoded) {
    for (std::size_t byte = 0; byte < 256; ++byte) {
      std::string character;
      append_utf8(kAlphabet.character_of[byte], &character);
      byte_tokens_[byte] = encoded.find(character);
    }
  }

  // A part that is no token gets an id past the vocabulary: merges may go through it.
  Status load_merges(const std::vector<std::string>& tokens, const std::vector<std::string>& merges,
                     StringIndex* encoded) {
    merges_.emplace(merges.size());
    std::deque<std::string> extra_names;  // the index keeps views of them
    const auto id_of = [&](std::string_view part) {
      std::int32_t id = encoded->find(part);
      if (id == StringIndex::kAbsent) {
        id = static_cast<std::int32_t>(types_.size() + extra_names.size());
        extra_names.emplace_back(part);
        encoded->put(extra_names.back(), id);
        append_decoded(part, &extra_pieces_.emplace_back());
      }
      return id;
    };
    // Most vocabularies hold the joined tokens in the order of the merges: the token after the last
    // one is tried before the index.
    const auto is_joined = [&](std::size_t id, std::string_view left, std::string_view right) {
      if (id >= tokens.size() || tokens[id].size() != left.size() + right.size()) return false;
      return tokens[id].starts_with(left) && tokens[id].ends_with(right);
    };
    std::string joined;
    std::int32_t joined_id = -1;
    for (std::size_t rank = 0; rank < merges.size(); ++rank) {
      const std::string_view merge = merges[rank];
      const std::size_t space = merge.find(' ', 1);
      if (merge.size() < 3 || space == std::string_view::npos || space + 1 == merge.size()) {
        return bad("merge " + std::to_string(rank) + " of tokenizer.ggml.merges is " +
                   in_quotes(merge) + ", expected two parts with a space between them");
      }
      const std::string_view left = merge.substr(0, space), right = merge.substr(space + 1);
      const auto guess = static_cast<std::size_t>(joined_id) + 1;
      if (is_joined(guess, left, right)) {
        ++joined_id;
      } else {
        joined.assign(left).append(right);
        joined_id = id_of(joined);
      }
      merges_->put(id_of(left), id_of(right), {static_cast<std::uint32_t>(rank), joined_id});
    }
    return Status::ok();
  }

  void load_special() {
    for (std::size_t i = 0; i < types_.size(); ++i) {
      const bool always = types_[i] == TokenType::kUserDefined;
      const bool markup = types_[i] == TokenType::kControl || types_[i] == TokenType::kUnknown;
      const auto id = static_cast<TokenId>(i);
      const std::string_view text = piece_of(id);
      if (text.empty() || (!always && !markup)) continue;
      for (SpecialTokens* set : {&every_special_, &plain_special_}) {
        if (set == &plain_special_ && !always) continue;
        set->index.put(text, id);
        auto& lengths = set->lengths[static_cast<unsigned char>(text[0])];
        if (std::find(lengths.begin(), lengths.end(), text.size()) == lengths.end()) {
          lengths.insert(
              std::upper_bound(lengths.begin(), lengths.end(), text.size(), std::greater<>()),
              text.size());
        }
      }
    }
  }

  Status load_id(const GgufHeader& header, std::string_view key, TokenId* id) {
    if (!header.metadata.contains(key)) return Status::ok();
    TROUPE_ASSIGN_OR_RETURN(const std::uint64_t value, header.u64(key));
    if (value >= types_.size()) {
      return bad(std::string(key) + " is " + std::to_string(value) +
                 ", outside the vocabulary of " + std::to_string(types_.size()) + " tokens");
    }
    *id = static_cast<TokenId>(value);
    return Status::ok();
  }

  Status load_flag(const GgufHeader& header, std::string_view key, bool* flag) {
    const auto entry = header.metadata.find(key);
    if (entry == header.metadata.end()) return Status::ok();
    const bool* value = std::get_if<bool>(&entry->second);
    if (value == nullptr) return bad("the metadata value of " + in_quotes(key) + " is not a bool");
    *flag = *value;
    return Status::ok();
  }

  Status load_ids(const GgufHeader& header, const StringIndex& encoded) {
    TokenId eot = -1, eom = -1;
    add_bos_ = pre_tokenizer_->adds_bos();
    TROUPE_RETURN_IF_ERROR(load_id(header, "tokenizer.ggml.bos_token_id", &bos_));
    TROUPE_RETURN_IF_ERROR(load_id(header, "tokenizer.ggml.eos_token_id", &eos_));
    TROUPE_RETURN_IF_ERROR(load_id(header, "tokenizer.ggml.eot_token_id", &eot));
    TROUPE_RETURN_IF_ERROR(load_id(header, "tokenizer.ggml.eom_token_id", &eom));
    TROUPE_RETURN_IF_ERROR(load_flag(header, "tokenizer.ggml.add_bos_token", &add_bos_));
    TROUPE_RETURN_IF_ERROR(load_flag(header, "tokenizer.ggml.add_eos_token", &add_eos_));
    add_bos_ = add_bos_ && bos_ >= 0;
    add_eos_ = add_eos_ && eos_ >= 0;
    ends_ = {eos_, eot, eom};
    for (const std::string_view markup : kEndMarkup) {
      const std::int32_t id = encoded.find(markup);
      if (id < 0 || static_cast<std::size_t>(id) >= types_.size()) continue;
      if (types_[static_cast<std::size_t>(id)] == TokenType::kControl) ends_.push_back(id);
    }
    std::sort(ends_.begin(), ends_.end());
    ends_.erase(std::unique(ends_.begin(), ends_.end()), ends_.end());
    if (ends_.front() < 0) ends_.erase(ends_.begin());
    return Status::ok();
  }

  // The longest special token at the start of `text`, or -1.
  TokenId special_at(std::string_view text, bool parse_special) const {
    const SpecialTokens& set = parse_special ? every_special_ : plain_special_;
    for (const std::size_t length : set.lengths[static_cast<unsigned char>(text[0])]) {
      if (length > text.size()) continue;
      const TokenId id = set.index.find(text.substr(0, length));
      if (id >= 0) return id;
    }
    return -1;
  }

  Status encode_plain(std::string_view text, std::vector<TokenId>* ids) const {
    if (text.empty()) return Status::ok();
    std::vector<std::string_view> words;
    words.reserve(text.size() / 4 + 1);
    TROUPE_RETURN_IF_ERROR(pre_tokenizer_->split(text, &words));
    std::vector<std::int32_t> symbols;
    for (const std::string_view word : words) {
      if (words_.has_value()) {
        if (const TokenId id = words_->find(word); id >= 0) {
          ids->push_back(id);
          continue;
        }
      }
      symbols.clear();
      append_bytes(word, &symbols);
      const std::size_t count = merge_symbols(*merges_, symbols);
      for (std::size_t i = 0; i < count; ++i) {
        const auto id = static_cast<std::size_t>(symbols[i]);
        if (id < types_.size()) {
          ids->push_back(symbols[i]);
        } else {
          append_bytes(extra_pieces_[id - types_.size()], ids);
        }
      }
    }
    return Status::ok();
  }

  // A byte that the vocabulary lacks is left out, as the reference tokenizers do: SmolLM2 has no
  // token for some control characters, nor for 0xf1 and 0xf2, which begin planes 4 to 11, where no
  // character is assigned.
  void append_bytes(std::string_view bytes, std::vector<std::int32_t>* symbols) const {
    for (const char byte : bytes) {
      const std::int32_t id = byte_tokens_[static_cast<unsigned char>(byte)];
      if (id >= 0) symbols->push_back(id);
    }
  }

  static constexpr std::size_t kTokensMax = std::size_t{1} << 24;

  struct SpecialTokens {
    StringIndex index{0};
    // By first byte: the lengths that such tokens have, longest first.
    std::array<std::vector<std::size_t>, 256> lengths;
  };

  std::unique_ptr<const PreTokenizer> pre_tokenizer_;
  std::vector<TokenType> types_;
  std::string bytes_;                // all pieces, one after another
  std::vector<std::size_t> begins_;  // of each piece in bytes_, and the end
  std::array<std::int32_t, 256> byte_tokens_{};
  std::optional<MergeTable> merges_;
  std::vector<std::string> extra_pieces_;  // of ids past the vocabulary
  std::optional<StringIndex> words_;       // when the pre-tokenizer takes whole words
  SpecialTokens every_special_, plain_special_;
  TokenId bos_ = -1, eos_ = -1;
  bool add_bos_ = false, add_eos_ = false;
  std::vector<TokenId> ends_;
};

}  // namespace

Result<std::shared_ptr<const Tokenizer>> Tokenizer::from_gguf(const GgufHeader& header) {
  auto tokenizer = std::make_shared<BpeTokenizer>();
  TROUPE_RETURN_IF_ERROR(tokenizer->load(header));
  return std::shared_ptr<const Tokenizer>(std::move(tokenizer));
}

}  // namespace troupe::model
