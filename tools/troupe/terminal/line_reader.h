#pragma once

#include <string>

#include <troupe/tools/troupe/terminal/signals.h>

// Lines of stdin for the chat, read so that Ctrl-C is noticed while waiting. Main thread only.

namespace troupe::tools {

class LineReader {
 public:
  explicit LineReader(SignalWatch& watch) : watch_(watch) {}

  enum class Outcome { kLine, kEnd, kInterrupted };
  // One line without its newline. `prompt` is shown first when stdin is a terminal.
  Outcome read_line(const char* prompt, std::string* line);
  // A whole message: a line that ends in a backslash goes on with the next; one that begins with
  // """ goes on until a line that ends in """.
  Outcome read_message(std::string* message);

 private:
  SignalWatch& watch_;
  std::string buffer_;
  bool ended_ = false;
};

}  // namespace troupe::tools
