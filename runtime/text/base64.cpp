#include <sodium.h>

#include <troupe/runtime/text/base64.h>

namespace troupe {

std::optional<std::string> from_base64(std::string_view text) {
  std::string bytes(text.size() / 4 * 3, '\0');
  std::size_t count = 0;
  const int failed = ::sodium_base642bin(
      reinterpret_cast<unsigned char*>(bytes.data()), bytes.size(), text.data(), text.size(),
      /*ignore=*/nullptr, &count, /*b64_end=*/nullptr, sodium_base64_VARIANT_ORIGINAL);
  if (failed != 0) return std::nullopt;
  bytes.resize(count);
  return bytes;
}

}  // namespace troupe
