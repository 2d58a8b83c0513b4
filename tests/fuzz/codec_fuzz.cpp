#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include <troupe/runtime/wire/codec.h>

// Feeds any bytes as a message that has every kind of field. If they decode, the message must
// encode to the same bytes. clang++-14 -std=c++20 -g -O1 -fsanitize=fuzzer,address,undefined -I
// build/include
//   tests/fuzz/codec_fuzz.cpp runtime/status.cpp

namespace {

enum class Kind : std::uint16_t { kNone = 0, kSome = 3 };

struct Leaf {
  std::int64_t number = 0;
  std::string text;
  std::vector<Leaf> leaves;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(number, text, leaves);
  }
};

struct Message {
  bool flag = false;
  Kind kind = Kind::kNone;
  std::vector<std::int32_t> ids;
  std::vector<float> values;
  std::vector<std::byte> bytes;
  std::vector<Leaf> leaves;
  std::vector<std::vector<std::string>> names;
  std::array<std::uint8_t, 32> key{};
  std::array<Leaf, 2> pair{};
  std::optional<std::vector<double>> numbers;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(flag, kind, ids, values, bytes, leaves, names, key, pair, numbers);
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace troupe;
  const std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>(data), size);
  const Result<Message> message = wire::decode<Message>(bytes);
  if (!message) return 0;
  const std::vector<std::byte> again = wire::encode(*message);
  if (!std::equal(again.begin(), again.end(), bytes.begin(), bytes.end())) std::abort();
  return 0;
}
