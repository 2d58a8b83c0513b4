#include <algorithm>
#include <cstdio>

#include <sys/ioctl.h>
#include <unistd.h>

#include <troupe/tools/troupe/fetch/progress.h>
#include <troupe/tools/troupe/terminal/output.h>

namespace troupe::tools {
namespace {

using namespace std::chrono_literals;

constexpr auto kTerminalPause = 200ms, kPlainPause = 5000ms, kSamplePause = 100ms;
constexpr auto kRateWindow = 5s;
constexpr std::size_t kBarColumnsMax = 30, kBarColumnsMin = 5;

std::size_t terminal_columns() {
  winsize size{};
  return ::ioctl(2, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

// Returns "[#####     ] " in the room that is left beside `text`, or "" if there is too little
// room.
std::string bar(double share, std::size_t text_columns) {
  const std::size_t columns = terminal_columns();
  const std::size_t frame = 3, margin = 1;  // brackets and a blank; the last column stays free
  if (columns < text_columns + frame + margin + kBarColumnsMin) return "";
  const std::size_t width = std::min(kBarColumnsMax, columns - text_columns - frame - margin);
  const auto full = static_cast<std::size_t>(share * static_cast<double>(width));
  return "[" + std::string(full, '#') + std::string(width - full, ' ') + "] ";
}

}  // namespace

std::string format_seconds(std::uint64_t seconds) {
  char text[64];
  const auto part = [](std::uint64_t value) { return static_cast<unsigned long long>(value); };
  if (seconds >= 3600) {
    std::snprintf(text, sizeof text, "%llu:%02llu:%02llu", part(seconds / 3600),
                  part(seconds / 60 % 60), part(seconds % 60));
  } else {
    std::snprintf(text, sizeof text, "%llu:%02llu", part(seconds / 60), part(seconds % 60));
  }
  return text;
}

Progress::Progress(std::string name)
    : name_(std::move(name)), terminal_(::isatty(2) != 0), shown_(Clock::now()) {}

Progress::~Progress() {
  if (columns_drawn_ > 0) std::fputc('\n', stderr);
}

double Progress::rate() const {
  if (samples_.size() < 2) return 0;
  const double seconds =
      std::chrono::duration<double>(samples_.back().first - samples_.front().first).count();
  return seconds < 0.2
             ? 0
             : static_cast<double>(samples_.back().second - samples_.front().second) / seconds;
}

std::string Progress::line(std::uint64_t here, std::uint64_t total) const {
  std::string text = format_bytes(here);
  if (total > 0) {
    text = std::to_string(here * 100 / total) + " %, " + text + " of " + format_bytes(total);
  }
  const double speed = rate();
  if (speed > 0) {
    text += ", " + format_bytes(static_cast<std::uint64_t>(speed)) + "/s";
    if (total > here) {
      const double left = static_cast<double>(total - here) / speed;
      text += ", " + format_seconds(static_cast<std::uint64_t>(left + 0.5)) + " left";
    }
  }
  return text;
}

void Progress::show(std::uint64_t here, std::uint64_t total, Clock::time_point now) {
  if (!samples_.empty() && here < samples_.back().second) samples_.clear();
  if (samples_.empty() || now - sampled_ >= kSamplePause) {
    samples_.emplace_back(now, here);
    sampled_ = now;
    while (now - samples_.front().first > kRateWindow) samples_.pop_front();
  }
  const bool ended = total > 0 && here == total && columns_drawn_ > 0;
  if (!ended && now - shown_ < (terminal_ ? kTerminalPause : kPlainPause)) return;
  shown_ = now;
  if (!terminal_) {
    say(name_ + ": " + line(here, total));
    return;
  }
  std::string text = name_ + " " + line(here, total);
  const double share = total > 0 ? static_cast<double>(here) / static_cast<double>(total) : 0;
  if (total > 0) text = bar(share, text.size()) + text;
  const std::size_t columns = terminal_columns() - 1;
  if (text.size() > columns) text.resize(columns);
  const std::size_t drawn = text.size();
  if (drawn < columns_drawn_) text += std::string(columns_drawn_ - drawn, ' ');
  columns_drawn_ = drawn;
  std::fputs(("\r" + text).c_str(), stderr);
}

}  // namespace troupe::tools
