#include <bit>
#include <cstring>
#include <utility>

#include <utf8proc.h>

#include <troupe/model/text/unicode.h>
#include <troupe/model/tokenizer/charsmap.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr std::uint32_t kValueBit = 1u << 31;
// The longest text of Unicode's compatibility forms has 33 bytes. A map with much longer texts
// would exhaust the memory.
constexpr std::size_t kTextBytesMax = 256;

bool continues_character(std::string_view text, std::size_t at) {
  return at < text.size() && (static_cast<unsigned char>(text[at]) & 0xc0) == 0x80;
}

std::size_t offset_of(std::uint32_t unit) {
  return std::size_t{unit >> 10} << ((unit & (1u << 9)) >> 6);
}

Status bad_map(const std::string& what) {
  return Status(Code::kBadData, "the precompiled_charsmap " + what);
}

// Returns the number of bytes of the first grapheme (a character as users see it) of `text`.
std::size_t grapheme_bytes(std::string_view text) {
  utf8proc_int32_t state = 0;
  Utf8Char last = utf8_char(text);
  std::size_t bytes = last.bytes;
  while (bytes < text.size()) {
    const Utf8Char next = utf8_char(text.substr(bytes));
    if (utf8proc_grapheme_break_stateful(static_cast<utf8proc_int32_t>(last.code_point),
                                         static_cast<utf8proc_int32_t>(next.code_point), &state))
      break;
    bytes += next.bytes;
    last = next;
  }
  return bytes;
}

}  // namespace

Result<Charsmap> Charsmap::parse(std::string_view bytes) {
  std::uint32_t trie_bytes = 0;
  if (bytes.size() < sizeof(trie_bytes)) return bad_map("has no size of its trie");
  std::memcpy(&trie_bytes, bytes.data(), sizeof(trie_bytes));
  bytes.remove_prefix(sizeof(trie_bytes));
  if (trie_bytes == 0 || trie_bytes % 4 != 0 || trie_bytes > bytes.size())
    return bad_map("says that its trie has " + std::to_string(trie_bytes) + " bytes, of " +
                   std::to_string(bytes.size()));
  std::vector<std::uint32_t> units(trie_bytes / 4);
  std::memcpy(units.data(), bytes.data(), trie_bytes);
  std::string texts(bytes.substr(trie_bytes));
  if (utf8_valid_prefix(texts) != texts.size()) return bad_map("has texts that are not UTF-8");
  std::size_t begin = 0;
  for (std::size_t i = 0; i <= texts.size(); ++i) {
    if (i < texts.size() && texts[i] != '\0') continue;
    if (i - begin > kTextBytesMax)
      return bad_map("makes a text of " + std::to_string(i - begin) +
                     " bytes of a character, expected " + std::to_string(kTextBytesMax) +
                     " at most");
    begin = i + 1;
  }
  return Charsmap(std::move(units), std::move(texts));
}

// Finds a key. A place outside the trie or its texts, or in the middle of a character, matches
// nothing, so that damaged units do no harm.
std::optional<Charsmap::Match> Charsmap::find(std::string_view text, bool longest) const {
  std::optional<Match> found;
  std::size_t node = offset_of(units_[0]);
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte == 0) break;
    node ^= byte;
    if (node >= units_.size()) break;
    const std::uint32_t unit = units_[node];
    if ((unit & (kValueBit | 0xffu)) != byte) break;
    node ^= offset_of(unit);
    if ((unit >> 8 & 1u) == 0) continue;
    if (node >= units_.size()) break;
    const std::size_t place = units_[node] & ~kValueBit;
    if (place > texts_.size()) break;
    if (continues_character(texts_, place) || continues_character(text, i + 1)) continue;
    const std::string_view rest = std::string_view(texts_).substr(place);
    found = Match{i + 1, rest.substr(0, rest.find('\0'))};
    if (!longest) break;
  }
  return found;
}

std::string Charsmap::by_longest(std::string_view text, const AddedTokens& kept) const {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    std::size_t bytes = utf8_char(text).bytes;
    if (const AddedToken* token = kept.empty() ? nullptr : kept.at(text)) {
      bytes = token->text.size();
      out += token->text;
    } else if (const std::optional<Match> match = find(text, /*longest=*/true)) {
      bytes = match->bytes;
      out += match->text;
    } else {
      out += text.substr(0, bytes);
    }
    text.remove_prefix(bytes);
  }
  return out;
}

std::string Charsmap::by_graphemes(std::string_view text) const {
  constexpr std::size_t kWholeBytes = 6;  // of the shortest character that is not taken as a whole
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const std::string_view grapheme = text.substr(0, grapheme_bytes(text));
    text.remove_prefix(grapheme.size());
    if (grapheme.size() < kWholeBytes)
      if (const std::optional<Match> match = find(grapheme, /*longest=*/false)) {
        out += match->text;
        continue;
      }
    for_each_character(grapheme, [&](char32_t, std::string_view bytes) {
      const std::optional<Match> match = find(bytes, /*longest=*/false);
      out += match ? match->text : bytes;
    });
  }
  return out;
}

}  // namespace troupe::model
