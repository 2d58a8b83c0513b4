#include <cstdio>
#include <cstdlib>

#include <troupe/runtime/status.h>

namespace troupe {

std::string_view code_name(Code code) {
  switch (code) {
    case Code::kOk:
      return "ok";
    case Code::kInvalidArgument:
      return "invalid_argument";
    case Code::kNotFound:
      return "not_found";
    case Code::kBadData:
      return "bad_data";
    case Code::kFailedPrecondition:
      return "failed_precondition";
    case Code::kResourceExhausted:
      return "resource_exhausted";
    case Code::kUnavailable:
      return "unavailable";
    case Code::kDeadlineExceeded:
      return "deadline_exceeded";
    case Code::kPermissionDenied:
      return "permission_denied";
    case Code::kAlreadyExists:
      return "already_exists";
    case Code::kCancelled:
      return "cancelled";
    case Code::kInternal:
      return "internal";
  }
  return "unknown";
}

Status Status::with_context(std::string_view context) const {
  if (is_ok()) return *this;
  return Status(code_, std::string(context) + ": " + message_);
}

namespace detail {
void check_failed(const char* file, int line, const char* condition, const std::string& values) {
  std::fprintf(stderr, "troupe: broken invariant at %s:%d: %s (%s)\n", file, line, condition,
               values.c_str());
  std::abort();
}
}  // namespace detail

}  // namespace troupe
