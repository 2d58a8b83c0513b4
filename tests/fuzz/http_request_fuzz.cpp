// Feeds any bytes as those of one connection: requests are read or refused, however the bytes are
// cut.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include <troupe/actors/http/request_reader.h>

using troupe::http::RequestReader;
using State = RequestReader::State;

namespace {

// Returns the requests in the bytes as one text.
std::string read(std::string_view bytes, std::size_t piece) {
  troupe::ServeLimits limits;
  limits.body_bytes = 4096;
  limits.header_bytes = 1024;
  RequestReader reader(limits);
  std::string all;
  for (std::size_t i = 0; i < bytes.size() && reader.state() != State::kBad; i += piece) {
    reader.push(bytes.substr(i, piece));
    while (reader.state() == State::kDone) {
      const troupe::http::Request request = reader.take();
      all += request.method + ' ' + request.path + '?' + request.query + ' ' + request.body + '\n';
    }
  }
  return all + (reader.state() == State::kBad ? "bad" : "good");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  // The places where the network cuts the bytes make no difference.
  if (read(bytes, std::max<std::size_t>(size, 1)) != read(bytes, 1)) std::abort();
  return 0;
}
