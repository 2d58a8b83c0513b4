#include <cstring>
#include <iostream>
#include <string>
#include <string_view>

#include <troupe/actors/troupe.h>
#include <troupe/runtime/file.h>
#include <troupe/tools/troupe/daemon/join_source.h>
#include <troupe/tools/troupe/terminal/output.h>

namespace troupe::tools {
namespace {

constexpr std::size_t kJoinFileBytesMax = 65536;
constexpr const char* kBlanks = " \t\r\n";

// Returns the last word of the first line that is not empty; "" if there is none.
std::string last_word(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return "";
  std::string_view line = text.substr(begin, text.find('\n', begin) - begin);
  line = line.substr(0, line.find_last_not_of(kBlanks) + 1);
  const std::size_t blank = line.find_last_of(kBlanks);
  return std::string(blank == std::string_view::npos ? line : line.substr(blank + 1));
}

Status take(Settings* settings, std::string_view text, const std::string& from) {
  const std::string join = last_word(text);
  if (join.find('@') == std::string::npos)
    return Status(Code::kBadData, from + " holds no TOKEN@HOST:PORT, as a head prints it");
  settings->set("join", join, from);
  return Status::ok();
}

}  // namespace

Status find_join(Settings* settings) {
  const SettingValue& join = settings->value("join");
  if (settings->given("join") && settings->given("join-file"))
    return Status(Code::kInvalidArgument,
                  "--join and --join-file both say which cluster to enter: give only one of them");
  if (settings->given("join-file")) {
    const std::string path = settings->text("join-file");
    const Result<std::string> text = read_file(path, kJoinFileBytesMax);
    if (text) return take(settings, *text, path);
    // A node that has joined needs no token: the file may be gone.
    TROUPE_ASSIGN_OR_RETURN(const std::string joined, joined_head(settings->text("home")));
    return joined.empty() ? text.status() : Status::ok();
  }
  if (join.text == "-") {
    std::string line;
    std::getline(std::cin, line);
    return take(settings, line, "stdin");
  }
  // Values that Troupe itself set count as flags, but are not in the command line.
  const bool in_command_line = join.origin == Origin::kFlag && join.from == "--join";
  const std::size_t at = join.text.find('@');
  if (in_command_line && at != std::string::npos && at > 0)
    say("every user of this machine could read the token in the command line; --join-file FILE, "
        "--join - (a line on stdin) and TROUPE_JOIN_FILE keep it secret");
  return Status::ok();
}

void hide_tokens(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    for (const char* option : {"--join", "--cluster"}) {
      const std::size_t length = std::strlen(option);
      char* value = nullptr;
      if (std::strcmp(argv[i], option) == 0 && i + 1 < argc) value = argv[i + 1];
      if (std::strncmp(argv[i], option, length) == 0 && argv[i][length] == '=')
        value = argv[i] + length + 1;
      char* const end = value == nullptr ? nullptr : std::strrchr(value, '@');
      if (end != nullptr) std::memset(value, '*', static_cast<std::size_t>(end - value));
    }
  }
}

}  // namespace troupe::tools
