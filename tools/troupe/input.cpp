#include <cerrno>

#include <unistd.h>

#include <troupe/runtime/file.h>
#include <troupe/tools/troupe/input.h>

namespace troupe::tools {

Result<std::string> read_stdin() {
  std::string text;
  char bytes[65536];
  for (;;) {
    const ssize_t n = ::read(0, bytes, sizeof bytes);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Status(Code::kUnavailable, "stdin cannot be read: give text on it");
    if (n == 0) return text;
    text.append(bytes, static_cast<std::size_t>(n));
    if (text.size() > kTextBytesMax) {
      return Status(Code::kResourceExhausted,
                    "stdin has more than " + std::to_string(kTextBytesMax) + " bytes: give less");
    }
  }
}

Result<std::string> read_text(const std::string& path) {
  return path == "-" ? read_stdin() : read_file(path, kTextBytesMax);
}

}  // namespace troupe::tools
