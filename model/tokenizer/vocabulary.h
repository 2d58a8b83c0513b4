#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <troupe/model/tokenizer/token_id.h>

// The tokens of a model: the type of each, and the bytes that it stands for in the middle of a
// text. Filled once; any thread may read.

namespace troupe::model {

// The numbers are those of tokenizer.ggml.token_type.
enum class TokenType : std::uint8_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6,
};

class Vocabulary {
 public:
  static constexpr std::size_t kTokensMax = std::size_t{1} << 24;

  void reserve(std::size_t tokens) { begins_.reserve(tokens + 1); }
  void add(TokenType type, std::string_view piece) {
    types_.push_back(type);
    bytes_ += piece;
    begins_.push_back(bytes_.size());
  }
  std::size_t size() const { return types_.size(); }
  bool holds(TokenId id) const { return id >= 0 && static_cast<std::size_t>(id) < types_.size(); }
  // These may be called for an id that holds() accepts. The view is valid until the next add.
  TokenType type(TokenId id) const { return types_[static_cast<std::size_t>(id)]; }
  std::string_view piece(TokenId id) const {
    const auto index = static_cast<std::size_t>(id);
    return std::string_view(bytes_).substr(begins_[index], begins_[index + 1] - begins_[index]);
  }

 private:
  std::vector<TokenType> types_;
  std::string bytes_;                      // all pieces, one after another
  std::vector<std::size_t> begins_ = {0};  // the begin of each piece in bytes_, and the end
};

// Returns the character for a byte. Byte-level BPE writes bytes as printable characters: printable
// Latin-1 stands for itself, the other 68 bytes are U+0100 and up, in order. Source: GPT-2's
// encoder.py, bytes_to_unicode.
std::string byte_level_character(unsigned char byte);
// Appends the bytes that `encoded` stands for. A character outside the alphabet stands for itself
// and makes the result false.
bool append_byte_level(std::string_view encoded, std::string* out);

// Says whether a token of this text ends an answer. These marks do so in some family, whatever type
// or flags a model's file gives the token. Source: the end-of-generation texts of llama.cpp
// (llama-vocab.cpp, 2026).
bool is_end_markup(std::string_view text);

// Returns the byte of a token such as "<0x0A>", or -1. Such tokens stand in for the bytes of
// characters that have no token.
int fallback_byte(std::string_view token);

}  // namespace troupe::model
