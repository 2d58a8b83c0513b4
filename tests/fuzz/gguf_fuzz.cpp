// A model file's header, its configuration and its tokenizer, from any bytes.
#include <cstdint>

#include <troupe/model/config.h>
#include <troupe/model/gguf.h>
#include <troupe/model/tokenizer.h>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  const auto header = troupe::model::parse_gguf_header(bytes, size, "fuzz.gguf");
  if (!header) return 0;
  (void)troupe::model::config_from_gguf(*header);
  if (const auto tokenizer = troupe::model::Tokenizer::from_gguf(*header)) {
    (void)(*tokenizer)->encode("Hello, world 12 \xc3\xa9", {});
  }
  return 0;
}
