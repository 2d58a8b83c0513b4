#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

// Reads the body of a request: a number of bytes, or chunks (RFC 9112, section 7.1). The result
// does not depend on how the bytes were cut. Extensions of chunks, and trailers, are ignored. Pure;
// an object has one owner.

namespace troupe::http {

class BodyReader {
 public:
  // An empty body.
  BodyReader() = default;
  static BodyReader of_length(std::uint64_t bytes);
  static BodyReader chunked();

  // Appends what belongs to the body, and returns how many of `bytes` it took. Must not be called
  // when done() or after an error.
  std::size_t read(std::string_view bytes, std::string* body);
  bool done() const { return state_ == State::kDone; }
  // Returns what is wrong with the chunks; null if nothing is.
  const char* error() const { return error_; }
  // Returns the number of bytes that the body has, or will have as far as is known.
  std::uint64_t bytes() const { return bytes_; }

 private:
  enum class State { kData, kSize, kDataEnd, kTrailer, kDone };
  void end_line();
  bool read_size();
  State state_ = State::kDone;
  bool chunked_ = false;
  std::uint64_t left_ = 0;   // bytes to come, of the body or of the chunk
  std::uint64_t bytes_ = 0;  // of all chunks so far, with the present one
  std::string line_;         // as far as it has come, without its end
  bool carriage_return_ = false;
  std::size_t trailer_bytes_ = 0;
  const char* error_ = nullptr;
};

}  // namespace troupe::http
