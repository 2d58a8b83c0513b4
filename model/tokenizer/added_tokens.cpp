#include <algorithm>
#include <functional>
#include <utility>

#include <utf8proc.h>

#include <troupe/model/text/unicode.h>
#include <troupe/model/tokenizer/added_tokens.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model {
namespace {

// True for Unicode's word characters: letters, marks, digits, connecting punctuation, joiners.
bool is_word(char32_t c) {
  if (c == 0x200c || c == 0x200d || (c >= 0x24b6 && c <= 0x24e9)) return true;
  const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  return (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_NL) ||
         category == UTF8PROC_CATEGORY_PC;
}

// Returns the first byte of the last character of `text`, which is UTF-8 and not empty.
std::size_t last_character(std::string_view text) {
  std::size_t at = text.size() - 1;
  while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xc0) == 0x80) --at;
  return at;
}

bool touches(std::span<const TextSpan> spans, const TextSpan& one) {
  const auto after =
      std::upper_bound(spans.begin(), spans.end(), one.begin,
                       [](std::size_t begin, const TextSpan& span) { return begin < span.end; });
  return after != spans.end() && after->begin < one.end;
}

}  // namespace

void AddedTokens::add(AddedToken token) {
  if (token.text.empty()) return;
  const AddedToken& kept = tokens_.emplace_back(std::move(token));
  index_.put(kept.text, static_cast<std::int32_t>(tokens_.size() - 1));
  auto& lengths = lengths_[static_cast<unsigned char>(kept.text[0])];
  if (std::find(lengths.begin(), lengths.end(), kept.text.size()) != lengths.end()) return;
  lengths.insert(
      std::upper_bound(lengths.begin(), lengths.end(), kept.text.size(), std::greater<>()),
      kept.text.size());
}

const AddedToken* AddedTokens::at(std::string_view text) const {
  for (const std::size_t length : lengths_[static_cast<unsigned char>(text[0])]) {
    if (length > text.size()) continue;
    const std::int32_t index = index_.find(text.substr(0, length));
    if (index >= 0) return &tokens_[static_cast<std::size_t>(index)];
  }
  return nullptr;
}

std::vector<AddedTokens::Found> AddedTokens::find(std::string_view text, bool parse_special,
                                                  std::span<const TextSpan> plain) const {
  std::vector<Found> found;
  if (tokens_.empty()) return found;
  std::size_t taken = 0;  // the end of the last token found
  for (std::size_t at = 0; at < text.size();) {
    const AddedToken* token = this->at(text.substr(at));
    if (token == nullptr) {
      ++at;
      continue;
    }
    TextSpan span = {at, at + token->text.size()};
    at = span.end;
    if (token->special && (!parse_special || touches(plain, span))) continue;
    if (token->single_word) {
      const std::string_view before = text.substr(0, span.begin);
      const std::string_view after = text.substr(span.end);
      const bool left =
          !before.empty() && is_word(utf8_char(before.substr(last_character(before))).code_point);
      const bool right = !after.empty() && is_word(utf8_char(after).code_point);
      if (left || right) continue;
    }
    while (token->strips_left && span.begin > taken) {
      const std::size_t last = last_character(text.substr(0, span.begin));
      if (last < taken || !is_white_space(utf8_char(text.substr(last)).code_point)) break;
      span.begin = last;
    }
    while (token->strips_right && span.end < text.size()) {
      const Utf8Char next = utf8_char(text.substr(span.end));
      if (!is_white_space(next.code_point)) break;
      span.end += next.bytes;
    }
    at = std::max(at, span.end);
    found.push_back({token->id, span});
    taken = span.end;
  }
  return found;
}

}  // namespace troupe::model
