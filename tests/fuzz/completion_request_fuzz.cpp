// Feeds any bytes as the body of a completion request: it is read, or refused with a sentence.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include <troupe/actors/http/parse_ask.h>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  troupe::http::GenerationAsk ask;
  const auto error = troupe::http::parse_ask(troupe::http::AskKind::kCompletion,
                                             {reinterpret_cast<const char*>(data), size}, &ask);
  // A fault counts as the client's error, and the answer is no larger than a page.
  if (error && (error->status != 400 || error->message.empty() ||
                troupe::http::error_json(*error).size() > 100'000)) {
    std::abort();
  }
  return 0;
}
