#include <algorithm>
#include <string>

#include <troupe/actors/http/text_offsets.h>

namespace troupe::http {
namespace {

// Returns how many bytes of `rest`, the text after the earlier tokens, belong to the token.
std::size_t bytes_of(const model::Tokenizer& tokenizer, model::TokenId id, std::string_view rest,
                     bool begins) {
  const auto piece = tokenizer.piece(id, /*with_special=*/true);
  if (!piece) return 0;
  if (rest.starts_with(*piece)) return piece->size();
  // The first token of a text may stand for a word with a space before it.
  const bool has_space = begins && piece->starts_with(' ');
  if (has_space && rest.starts_with(std::string_view(*piece).substr(1))) return piece->size() - 1;
  const auto plain = tokenizer.piece(id, /*with_special=*/false);
  if (plain && plain->empty()) return 0;  // the tokenizer has added the token
  // The tokenizer has changed the text: its own length is the best guess.
  return std::min(piece->size(), rest.size());
}

}  // namespace

std::size_t count_characters(std::string_view bytes) {
  return static_cast<std::size_t>(std::count_if(bytes.begin(), bytes.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

std::vector<std::size_t> text_offsets(const model::Tokenizer& tokenizer,
                                      const std::vector<model::TokenId>& ids,
                                      std::string_view text) {
  std::vector<std::size_t> offsets;
  std::size_t at = 0, characters = 0;
  for (const model::TokenId id : ids) {
    offsets.push_back(characters);
    const std::size_t bytes = bytes_of(tokenizer, id, text.substr(at), at == 0);
    characters += count_characters(text.substr(at, bytes));
    at += bytes;
  }
  return offsets;
}

}  // namespace troupe::http
