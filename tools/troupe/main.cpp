// The program `troupe`: one verb, whose outcome is the exit status (command_line.h).

#include <cstdio>
#include <exception>
#include <string>

#include <fcntl.h>
#include <unistd.h>

#include <troupe/tools/troupe/terminal/output.h>
#include <troupe/tools/troupe/verbs/command_line.h>

namespace troupe::tools {
namespace {

// Opens the descriptors 0 to 2 if they are closed. Otherwise the next file that is opened would get
// one of them, and printed text would go into that file.
void fill_standard_descriptors() {
  for (const int wanted : {0, 1, 2}) {
    if (::fcntl(wanted, F_GETFD) >= 0) continue;
    // The system returns the lowest free descriptor. Results that nobody can get are an error
    // (stdout is not writable); messages that nobody can get are not.
    (void)::open("/dev/null", wanted == 1 ? O_RDONLY : O_RDWR);
  }
}

}  // namespace
}  // namespace troupe::tools

int main(int argc, char** argv) {
  troupe::tools::fill_standard_descriptors();
  try {
    const int status = troupe::tools::run_command(argc, argv);
    if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return status;
    troupe::tools::say(
        "the results could not be written to stdout: is its disk full, or is it "
        "closed?");
    return status != 0 ? status : troupe::tools::kExitFailure;
  } catch (const std::exception& error) {  // third-party code; the library throws nothing
    troupe::tools::say(std::string("unexpected failure: ") + error.what());
    return troupe::tools::kExitFailure;
  }
}
