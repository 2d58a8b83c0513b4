#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <troupe/runtime/text/utf8_stream.h>

// The text of an answer as its tokens' bytes come. It shows whole characters only, and holds back
// what may yet become a stop string. Pure.

namespace troupe::actors {

class AnswerText {
 public:
  explicit AnswerText(std::vector<std::string> stops) : stops_(std::move(stops)) {}
  // Takes the bytes of the next token, and returns the text that may be shown now. Sets stopped()
  // at a stop string.
  std::string push(std::string_view bytes);
  // Returns what is still held back when the answer ends.
  std::string finish();
  bool stopped() const { return stopped_; }
  const std::string& shown() const { return shown_; }

 private:
  std::string release(bool at_end);
  std::vector<std::string> stops_;
  Utf8Stream utf8_;
  std::string held_, shown_;
  bool stopped_ = false;
};

}  // namespace troupe::actors
