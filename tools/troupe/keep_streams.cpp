#include <troupe/tools/troupe/keep_streams.h>
#include <troupe/tools/troupe/terminal/units.h>

namespace troupe::tools {
namespace {

constexpr std::int64_t kLongestSeconds = 24 * 3600;

}  // namespace

Status keep_streams(const std::string& time, const std::string& flag, ServeOptions* serve) {
  const Result<std::int64_t> seconds = parse_duration(time, /*forever=*/false);
  if (!seconds) return Status(seconds.code(), flag + " " + seconds.message());
  if (*seconds > kLongestSeconds) {
    return Status(Code::kInvalidArgument,
                  flag + " is " + time + "; streams are kept for one day (1d) at most");
  }
  serve->resume = *seconds > 0;
  serve->limits.stream_rest_ms = static_cast<int>(*seconds * 1000);
  return Status::ok();
}

}  // namespace troupe::tools
