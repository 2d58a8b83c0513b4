#include <algorithm>
#include <array>
#include <iterator>

#include <troupe/model/tokenizer/vocabulary.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model {
namespace {

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

constexpr std::string_view kEndMarkup[] = {"<|im_end|>",
                                           "<|eot_id|>",
                                           "<|eom_id|>",
                                           "<|end|>",
                                           "<EOT>",
                                           "_<EOT>",
                                           "[EOT]",
                                           "[EOS]",
                                           "<eos>",
                                           "</s>",
                                           "<|endoftext|>",
                                           "<|end_of_text|>",
                                           "<|endofprompt|>",
                                           "<end_of_turn>",
                                           "<end_of_utterance>",
                                           "<turn|>",
                                           "<|return|>",
                                           "<|call|>",
                                           "<|calls|>",
                                           "<|flush|>",
                                           "<|tool_response>",
                                           "<\xef\xbd\x9c"
                                           "end\xe2\x96\x81of\xe2\x96\x81sentence\xef\xbd\x9c>"};

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

std::string byte_level_character(unsigned char byte) {
  std::string character;
  append_utf8(kAlphabet.character_of[byte], &character);
  return character;
}

bool append_byte_level(std::string_view encoded, std::string* out) {
  bool whole = true;
  while (!encoded.empty()) {
    const Utf8Char next = utf8_char(encoded);
    const bool known = next.state == Utf8State::kWhole && next.code_point < kAlphabetEnd &&
                       kAlphabet.byte_of[next.code_point] >= 0;
    if (known) {
      out->push_back(static_cast<char>(kAlphabet.byte_of[next.code_point]));
    } else {
      *out += encoded.substr(0, next.bytes);
      whole = false;
    }
    encoded.remove_prefix(next.bytes);
  }
  return whole;
}

bool is_end_markup(std::string_view text) {
  return std::find(std::begin(kEndMarkup), std::end(kEndMarkup), text) != std::end(kEndMarkup);
}

int fallback_byte(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return -1;
  const int high = hex_digit(token[3]), low = hex_digit(token[4]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

}  // namespace troupe::model
