#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

// Status and Result<T> carry the failures of the world: of a peer, a file, user input, memory.
// TROUPE_CHECK ends the program if an invariant of ours is broken, and names the values that broke
// it. It is never used on bytes that came from outside. Values are plain; any thread may use them.

namespace troupe {

enum class Code : std::uint8_t {
  kOk = 0,
  kInvalidArgument,     // the caller asked for something impossible (exit status 2 of the command)
  kNotFound,            // a file, model, node or request that does not exist
  kBadData,             // bytes that are not what they claim to be
  kFailedPrecondition,  // possible, but not in this state
  kResourceExhausted,   // memory, disk, credits, queue
  kUnavailable,         // a peer that is not there, or no longer there
  kDeadlineExceeded,
  kPermissionDenied,  // an unknown key, a wrong role, a refused token
  kAlreadyExists,     // such as a port in use
  kCancelled,
  kInternal,  // a failure of third-party code without a better name
};

// Returns the stable lower-case name of a code, e.g. "not_found".
std::string_view code_name(Code code);

class [[nodiscard]] Status {
 public:
  Status() = default;
  // `message` is one sentence for a person: what happened, to what (with the value), what to do.
  Status(Code code, std::string message) : code_(code), message_(std::move(message)) {}
  static Status ok() { return {}; }
  bool is_ok() const { return code_ == Code::kOk; }
  explicit operator bool() const { return is_ok(); }
  Code code() const { return code_; }
  const std::string& message() const { return message_; }
  // Returns the same status with "context: " before its message; ok stays ok.
  Status with_context(std::string_view context) const;

 private:
  Code code_ = Code::kOk;
  std::string message_;
};

// A T, or the Status that says why there is none (never an ok Status).
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}
  Result(Status status) : status_(std::move(status)) {
    if (status_.is_ok()) status_ = Status(Code::kInternal, "a result without a value");
  }
  bool is_ok() const { return value_.has_value(); }
  explicit operator bool() const { return is_ok(); }
  const Status& status() const { return status_; }
  Code code() const { return status_.code(); }
  const std::string& message() const { return status_.message(); }
  T& operator*() & { return *value_; }
  const T& operator*() const& { return *value_; }
  T&& operator*() && { return std::move(*value_); }
  T* operator->() { return &*value_; }
  const T* operator->() const { return &*value_; }

 private:
  Status status_;
  std::optional<T> value_;
};

namespace detail {
[[noreturn]] void check_failed(const char* file, int line, const char* condition,
                               const std::string& values);
}  // namespace detail

}  // namespace troupe

// TROUPE_CHECK(condition, values): aborts, naming the place, the condition and `values` (anything
// that converts to std::string), when an invariant of ours is broken.
#define TROUPE_CHECK(condition, values)                                         \
  do {                                                                          \
    if (!(condition)) [[unlikely]]                                              \
      ::troupe::detail::check_failed(__FILE__, __LINE__, #condition, (values)); \
  } while (false)

#define TROUPE_RETURN_IF_ERROR(expression)                                       \
  do {                                                                           \
    if (::troupe::Status troupe_status_ = (expression); !troupe_status_.is_ok()) \
      return troupe_status_;                                                     \
  } while (false)

#define TROUPE_CONCAT_INNER(a, b) a##b
#define TROUPE_CONCAT(a, b) TROUPE_CONCAT_INNER(a, b)
// TROUPE_ASSIGN_OR_RETURN(auto x, function_returning_result());
#define TROUPE_ASSIGN_OR_RETURN(lhs, expression) \
  TROUPE_ASSIGN_OR_RETURN_INNER(TROUPE_CONCAT(troupe_result_, __LINE__), lhs, expression)
#define TROUPE_ASSIGN_OR_RETURN_INNER(result, lhs, expression) \
  auto result = (expression);                                  \
  if (!result.is_ok()) return result.status();                 \
  lhs = std::move(*result)
