#include <random>
#include <span>

#include <troupe/actors/http/random_id.h>
#include <troupe/runtime/text/hex.h>

namespace troupe::http {
namespace {

std::uint64_t random_bits() {
  std::random_device device;  // the system's generator
  return (std::uint64_t{device()} << 32) | device();
}

}  // namespace

std::string random_id() {
  const std::uint64_t words[2] = {random_bits(), random_bits()};
  return to_hex({reinterpret_cast<const unsigned char*>(words), sizeof words});
}

std::uint64_t random_seed() { return random_bits() >> 11; }

}  // namespace troupe::http
