#include <array>
#include <cstring>

#include <troupe/actors/jobs/job_id.h>
#include <troupe/runtime/net/keys.h>
#include <troupe/runtime/text/hex.h>

namespace troupe::actors {

Status check_job_id(const std::string& id) {
  const bool right = !id.empty() && id.size() <= 64 &&
                     id.find_first_not_of(
                         "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                         "0123456789._-") == std::string::npos;
  if (right) return Status::ok();
  return Status(Code::kInvalidArgument,
                "'" + id.substr(0, 80) +
                    "' is not the id of a job: an id has 1 to 64 letters, digits, '.', '_' or '-'");
}

std::string drawn_id() {
  const std::uint64_t word = net::random_u64();
  std::array<unsigned char, 6> bytes{};
  std::memcpy(bytes.data(), &word, bytes.size());
  return to_hex(bytes);
}

}  // namespace troupe::actors
