#include <atomic>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <map>
#include <mutex>
#include <thread>

#include <signal.h>
#include <unistd.h>

#include <troupe/runtime/failpoint.h>

namespace troupe {
namespace {

#ifdef TROUPE_WITH_TESTS
constexpr bool kWithTests = true;
#else
constexpr bool kWithTests = false;
#endif

struct Armed {
  int left = 1;
  FailAction action;
};
// The code that is to fail knows nothing about the test that makes it fail; this table connects the
// two.
struct Registry {
  std::atomic<bool> any{false};
  std::mutex mutex;
  std::map<std::string, Armed, std::less<>> armed;
};
Registry& registry() {
  static Registry made;
  return made;
}

}  // namespace

Status failpoint(std::string_view room, std::string_view call, std::string_view point) {
  Registry& all = registry();
  if (!all.any.load(std::memory_order_relaxed)) return Status::ok();
  std::string name(room);
  name.append(".").append(call).append(".").append(point);
  FailAction action;
  {
    std::lock_guard lock(all.mutex);
    const auto found = all.armed.find(name);
    if (found == all.armed.end() || --found->second.left > 0) return Status::ok();
    action = found->second.action;
  }
  return action();
}

void arm_failpoint(std::string name, int nth, FailAction action) {
  Registry& all = registry();
  std::lock_guard lock(all.mutex);
  all.armed.insert_or_assign(std::move(name), Armed{nth, std::move(action)});
  all.any = true;
}

void disarm_failpoints() {
  Registry& all = registry();
  std::lock_guard lock(all.mutex);
  all.armed.clear();
  all.any = false;
}

Status arm_failpoint_from(const std::string& text) {
  const std::size_t colon = text.rfind(':');
  int nth = 0;
  if (colon != std::string::npos) {
    const char* const end = text.data() + text.size();
    const auto [at, error] = std::from_chars(text.data() + colon + 1, end, nth);
    if (at != end || error != std::errc()) nth = 0;
  }
  if (nth < 1) {
    return Status(Code::kInvalidArgument, "TROUPE_FAILPOINT is '" + text +
                                              "', expected NAME:NTH such as "
                                              "journal.receive.before_commit:3");
  }
  arm_failpoint(text.substr(0, colon), nth, [] {
    // By then, anything that was sent too early has left the process, so that the process's death
    // does not hide the mistake.
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    ::kill(::getpid(), SIGKILL);
    return Status::ok();
  });
  return Status::ok();
}

Status arm_failpoint_from_environment() {
  const char* text = std::getenv("TROUPE_FAILPOINT");
  if (text == nullptr) return Status::ok();
  TROUPE_RETURN_IF_ERROR(may_arm_failpoint(kWithTests, ::geteuid()));
  return arm_failpoint_from(text);
}

Status may_arm_failpoint(bool with_tests, unsigned uid) {
  if (with_tests || uid == 0) return Status::ok();
  return Status(Code::kPermissionDenied,
                "TROUPE_FAILPOINT is for tests: only root may set it for a release; unset it");
}

}  // namespace troupe
