#include <cerrno>
#include <cstdio>
#include <string_view>

#include <poll.h>
#include <unistd.h>

#include <troupe/tools/troupe/terminal/line_reader.h>

namespace troupe::tools {
namespace {

constexpr const char kFirst[] = ">>> ";
constexpr const char kMore[] = "... ";
constexpr std::string_view kQuotes = "\"\"\"";

bool ends_with_quotes(const std::string& text) {
  return text.size() >= kQuotes.size() &&
         text.compare(text.size() - kQuotes.size(), kQuotes.size(), kQuotes) == 0;
}

}  // namespace

LineReader::Outcome LineReader::read_line(const char* prompt, std::string* line) {
  if (::isatty(0)) std::fputs(prompt, stderr);
  for (;;) {
    const std::size_t newline = buffer_.find('\n');
    if (newline != std::string::npos) {
      *line = buffer_.substr(0, newline);
      buffer_.erase(0, newline + 1);
      return Outcome::kLine;
    }
    if (ended_) {
      if (buffer_.empty()) return Outcome::kEnd;
      *line = std::move(buffer_);
      buffer_.clear();
      return Outcome::kLine;
    }
    pollfd waits[2] = {{0, POLLIN, 0}, {watch_.descriptor(), POLLIN, 0}};
    if (::poll(waits, 2, -1) < 0 && errno != EINTR) return Outcome::kEnd;
    if (watch_.count() > 0) {
      watch_.clear();
      buffer_.clear();
      return Outcome::kInterrupted;
    }
    if ((waits[0].revents & (POLLIN | POLLHUP | POLLERR | POLLNVAL)) == 0) continue;
    char bytes[4096];
    const ssize_t n = ::read(0, bytes, sizeof bytes);
    if (n > 0) {
      buffer_.append(bytes, static_cast<std::size_t>(n));
    } else if (n == 0 || errno != EINTR) {
      ended_ = true;
    }
  }
}

LineReader::Outcome LineReader::read_message(std::string* message) {
  std::string line;
  Outcome outcome = read_line(kFirst, &line);
  if (outcome != Outcome::kLine) return outcome;
  if (line.rfind(kQuotes, 0) == 0) {
    line.erase(0, kQuotes.size());
    while (!ends_with_quotes(line)) {
      std::string next;
      outcome = read_line(kMore, &next);
      if (outcome == Outcome::kInterrupted) return outcome;
      if (outcome == Outcome::kEnd) break;  // the message ends where the input ends
      line += "\n" + next;
    }
    if (ends_with_quotes(line)) line.resize(line.size() - kQuotes.size());
  } else {
    while (!line.empty() && line.back() == '\\') {
      line.pop_back();
      std::string next;
      outcome = read_line(kMore, &next);
      if (outcome == Outcome::kInterrupted) return outcome;
      if (outcome == Outcome::kEnd) break;
      line += "\n" + next;
    }
  }
  *message = std::move(line);
  return Outcome::kLine;
}

}  // namespace troupe::tools
