#include <algorithm>

#include <troupe/actors/http/body_reader.h>
#include <troupe/runtime/text/hex.h>

namespace troupe::http {
namespace {

constexpr std::size_t kLineMax = 1024, kTrailersMax = 8192;
constexpr std::size_t kSizeDigitsMax = 8;

}  // namespace

BodyReader BodyReader::of_length(std::uint64_t bytes) {
  BodyReader reader;
  reader.left_ = reader.bytes_ = bytes;
  reader.state_ = bytes > 0 ? State::kData : State::kDone;
  return reader;
}

BodyReader BodyReader::chunked() {
  BodyReader reader;
  reader.chunked_ = true;
  reader.state_ = State::kSize;
  return reader;
}

std::size_t BodyReader::read(std::string_view bytes, std::string* body) {
  if (state_ == State::kData) {
    const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(left_, bytes.size()));
    body->append(bytes.substr(0, count));
    left_ -= count;
    if (left_ == 0) state_ = chunked_ ? State::kDataEnd : State::kDone;
    return count;
  }
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const char c = bytes[i];
    if (carriage_return_ != (c == '\n')) {
      error_ = "a line of the chunked body does not end with a carriage return and a line feed";
      return i;
    }
    carriage_return_ = c == '\r';
    if (c == '\n') {
      end_line();
      return i + 1;
    }
    if (c != '\r') line_ += c;
    if (line_.size() > kLineMax) {
      error_ = "a line of the chunked body is too long";
      return i;
    }
  }
  return bytes.size();
}

void BodyReader::end_line() {
  carriage_return_ = false;
  switch (state_) {
    case State::kSize:
      if (!read_size()) {
        error_ = "a chunk of the body does not begin with its size";
        return;
      }
      state_ = left_ > 0 ? State::kData : State::kTrailer;
      break;
    case State::kDataEnd:
      if (!line_.empty()) {
        error_ = "a chunk of the body is longer than its size";
        return;
      }
      state_ = State::kSize;
      break;
    default:  // kTrailer
      trailer_bytes_ += line_.size();
      if (trailer_bytes_ > kTrailersMax) {
        error_ = "the body's trailers are too long";
        return;
      }
      if (line_.empty()) state_ = State::kDone;
  }
  line_.clear();
}

// "1f" or "1f;name=value"
bool BodyReader::read_size() {
  const std::size_t digits = std::min(line_.find(';'), line_.size());
  if (digits == 0 || digits > kSizeDigitsMax) return false;
  left_ = 0;
  for (std::size_t i = 0; i < digits; ++i) {
    const int digit = hex_value(line_[i]);
    if (digit < 0) return false;
    left_ = left_ * 16 + static_cast<std::uint64_t>(digit);
  }
  bytes_ += left_;
  return true;
}

}  // namespace troupe::http
