#include <cstdio>
#include <string>

#include <unistd.h>

#include <troupe/tools/troupe/fetch/consent.h>
#include <troupe/tools/troupe/terminal/output.h>

namespace troupe::tools {
namespace {

// Reads a line of stdin and not a byte more, because the rest is for the next reader. A signal ends
// it.
std::string read_answer() {
  constexpr std::size_t kAnswerBytesMax = 64;
  std::string answer;
  char byte = 0;
  while (answer.size() < kAnswerBytesMax && ::read(0, &byte, 1) == 1 && byte != '\n') {
    answer += byte;
  }
  return answer;
}

}  // namespace

Status ask_consent(const Source& source, bool accepted) {
  if (!source.asks_consent) return Status::ok();
  say(source.name + " comes under the " + source.license + ": " + source.page);
  if (accepted) return Status::ok();
  if (::isatty(0) == 0) {
    return Status(Code::kFailedPrecondition, "nobody is here to accept the " + source.license +
                                                 " (" + source.page + ") for " + source.name +
                                                 ": read them, and if you do, give 'troupe pull " +
                                                 source.asked + " --accept-license'");
  }
  std::fprintf(stderr, "Do you accept the %s? [y/N] ", source.license.c_str());
  const std::string answer = read_answer();
  for (const char* const yes : {"y", "Y", "yes", "Yes", "YES"}) {
    if (answer == yes) return Status::ok();
  }
  return Status(Code::kFailedPrecondition, "the " + source.license + " were not accepted, so " +
                                               source.name + " was not fetched");
}

}  // namespace troupe::tools
