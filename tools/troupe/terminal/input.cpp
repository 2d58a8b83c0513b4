#include <cerrno>

#include <unistd.h>

#include <troupe/runtime/file.h>
#include <troupe/runtime/text/utf8.h>
#include <troupe/tools/troupe/terminal/input.h>

namespace troupe::tools {
namespace {

Result<std::string> checked(Result<std::string> text, const std::string& name) {
  if (!text.is_ok()) return text;
  const std::size_t valid = utf8_valid_prefix(*text);
  if (valid == text->size()) return text;
  return Status(Code::kBadData, name + " is not UTF-8 text: byte " + std::to_string(valid) +
                                    " is not part of a character; give it as UTF-8");
}

}  // namespace

Result<std::string> read_stdin() {
  std::string text;
  char bytes[65536];
  for (;;) {
    const ssize_t n = ::read(0, bytes, sizeof bytes);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Status(Code::kUnavailable, "stdin cannot be read: give text on it");
    if (n == 0) return checked(text, "stdin");
    text.append(bytes, static_cast<std::size_t>(n));
    if (text.size() > kTextBytesMax) {
      return Status(Code::kResourceExhausted,
                    "stdin has more than " + std::to_string(kTextBytesMax) + " bytes: give less");
    }
  }
}

Result<std::string> read_text(const std::string& path) {
  return path == "-" ? read_stdin() : checked(read_file(path, kTextBytesMax), path);
}

}  // namespace troupe::tools
