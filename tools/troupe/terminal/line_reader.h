#pragma once

#include <string>

#include <troupe/tools/troupe/terminal/signals.h>

// Reads lines of stdin for the chat, so that Ctrl-C is noticed while waiting. Main thread only.

namespace troupe::tools {

class LineReader {
 public:
  explicit LineReader(SignalWatch& watch) : watch_(watch) {}

  enum class Outcome { kLine, kEnd, kInterrupted };
  // Reads one line without its newline. `prompt` is shown first if stdin is a terminal.
  Outcome read_line(const char* prompt, std::string* line);
  // Reads a whole message: a line that ends in a backslash continues on the next line, and one that
  // begins with """ continues until a line that ends in """.
  Outcome read_message(std::string* message);

 private:
  SignalWatch& watch_;
  std::string buffer_;
  bool ended_ = false;
};

}  // namespace troupe::tools
