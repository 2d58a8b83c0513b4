// A chat template from a model file: parsing and rendering are bounded whatever it says.
#include <cstdint>
#include <string_view>

#include <troupe/model/chat_template.h>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view source(reinterpret_cast<const char*>(data), size);
  if (const auto parsed = troupe::model::ChatTemplate::parse(source)) {
    (void)(*parsed)->render({{"system", "s"}, {"user", "Hello"}, {"assistant", "Hi"}}, true, "<s>",
                            "</s>");
  }
  return 0;
}
