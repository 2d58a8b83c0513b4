#include <algorithm>

#include <troupe/actors/engine/answer_text.h>

namespace troupe::actors {

std::string AnswerText::push(std::string_view bytes) {
  held_ += utf8_.push(bytes);
  return release(false);
}

std::string AnswerText::finish() {
  if (!stopped_) held_ += utf8_.finish();
  return release(true);
}

std::string AnswerText::release(bool at_end) {
  if (stopped_) return {};
  std::size_t stop_at = std::string::npos;
  for (const std::string& stop : stops_) stop_at = std::min(stop_at, held_.find(stop));
  std::size_t show = held_.size();
  if (stop_at != std::string::npos) {
    stopped_ = true;
    show = stop_at;
  } else if (!at_end) {
    // Hold back the longest tail that may still grow into a stop string.
    for (const std::string& stop : stops_) {
      for (std::size_t n = std::min(stop.size() - 1, held_.size()); n > 0; --n) {
        if (held_.compare(held_.size() - n, n, stop, 0, n) == 0) {
          show = std::min(show, held_.size() - n);
          break;
        }
      }
    }
    // Never cut a character in two.
    while (show > 0 && show < held_.size() && (held_[show] & 0xC0) == 0x80) --show;
  }
  std::string text = held_.substr(0, show);
  held_.erase(0, show);
  shown_ += text;
  return text;
}

}  // namespace troupe::actors
