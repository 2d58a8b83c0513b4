// Feeds any bytes to the readers of short texts that people and configurations give: tokens,
// addresses, layer ranges, UTF-8.
#include <cstdint>
#include <string>

#include <troupe/model/config/layer_range.h>
#include <troupe/model/tokenizer/tokenizer.h>
#include <troupe/runtime/net/keys.h>
#include <troupe/runtime/net/transport.h>
#include <troupe/runtime/text/utf8_stream.h>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  (void)troupe::net::parse_token(text);
  (void)troupe::net::key_from_z85(text);
  (void)troupe::net::parse_endpoint(text);
  (void)troupe::model::parse_layer_ranges(text);
  troupe::Utf8Stream stream;
  (void)stream.push(text);
  (void)stream.finish();
  return 0;
}
