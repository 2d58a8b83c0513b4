#include <algorithm>

#include <troupe/model/tokenizer/word_piece.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model {

void WordPieceModel::add_start(std::string_view text, TokenId id) {
  if (text.empty()) return;
  starts_.put(texts_.emplace_back(text), id);
  bytes_max_ = std::max(bytes_max_, text.size());
}

void WordPieceModel::add_continuation(std::string_view text, TokenId id) {
  if (text.empty()) return;
  continuations_.put(texts_.emplace_back(text), id);
  bytes_max_ = std::max(bytes_max_, text.size());
}

void WordPieceModel::encode(std::string_view word, std::vector<TokenId>* ids) const {
  const std::size_t before = ids->size();
  std::size_t characters = 0;
  for (std::string_view rest = word; !rest.empty(); ++characters) {
    rest.remove_prefix(utf8_char(rest).bytes);
  }
  bool known = characters <= options_.characters_max;
  for (std::size_t at = 0; known && at < word.size();) {
    const StringIndex& index = at == 0 ? starts_ : continuations_;
    std::size_t bytes = std::min(bytes_max_, word.size() - at);
    TokenId id = -1;
    for (; bytes > 0; --bytes) {
      const bool cuts =
          at + bytes < word.size() && (static_cast<unsigned char>(word[at + bytes]) & 0xc0) == 0x80;
      if (cuts) continue;
      id = index.find(word.substr(at, bytes));
      if (id >= 0) break;
    }
    known = id >= 0;
    ids->push_back(id);
    at += bytes;
  }
  if (known) return;
  ids->resize(before);
  if (options_.unknown >= 0) ids->push_back(options_.unknown);
}

}  // namespace troupe::model
