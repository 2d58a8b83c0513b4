#include <troupe/runtime/text/utf8.h>
#include <troupe/runtime/text/utf8_stream.h>

namespace troupe {
namespace {
constexpr std::string_view kReplacement = "\xef\xbf\xbd";
}  // namespace

std::string Utf8Stream::push(std::string_view bytes) {
  pending_ += bytes;
  std::string out;
  std::string_view rest = pending_;
  while (!rest.empty()) {
    const Utf8Char next = utf8_char(rest);
    if (next.state == Utf8State::kIncomplete) break;
    out += next.state == Utf8State::kWhole ? rest.substr(0, next.bytes) : kReplacement;
    rest.remove_prefix(next.bytes);
  }
  pending_ = std::string(rest);
  return out;
}

std::string Utf8Stream::finish() {
  // The bytes that are held back are a prefix of one character.
  const bool incomplete = !pending_.empty();
  pending_.clear();
  return std::string(incomplete ? kReplacement : std::string_view());
}

}  // namespace troupe
