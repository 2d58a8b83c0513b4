// Feeds any bytes as a Hugging Face tokenizer, which then encodes and decodes a text.
#include <cstdint>
#include <string_view>

#include <troupe/model/tokenizer/detokenizer.h>
#include <troupe/model/tokenizer/tokenizer.h>
#include <troupe/model/tokenizer/tokenizer_json.h>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto tokenizer = troupe::model::tokenizer_from_json({text, R"({"bos_token":"<s>"})"});
  if (!tokenizer) return 0;
  const auto ids = (*tokenizer)->encode("Hello, <s> world 12 \xc3\xa9\n", {});
  if (!ids) return 0;
  troupe::model::Detokenizer stream(**tokenizer, true);
  for (const troupe::model::TokenId id : *ids) (void)stream.push(id);
  (void)stream.finish();
  return 0;
}
