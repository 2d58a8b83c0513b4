#include <algorithm>
#include <utility>

#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <sys/stat.h>
#include <unistd.h>

#include <troupe/actors/coordinator/audit.h>
#include <troupe/runtime/clock.h>
#include <troupe/runtime/log.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::actors {
namespace {

constexpr std::size_t kAuditTextMax = 300;

std::string cut_entry(std::string text) {
  if (text.size() <= kAuditTextMax) return text;
  text.resize(kAuditTextMax);
  text.resize(utf8_valid_prefix(text));
  return text;
}

// True if only administrators of the cluster can cause it.
bool is_by_admins(AuditKind kind) {
  switch (kind) {
    case AuditKind::kApproved:
    case AuditKind::kTokenMade:
    case AuditKind::kRevoked:
    case AuditKind::kUnloaded:
    case AuditKind::kDrained:
    case AuditKind::kStopped:
      return true;
    case AuditKind::kStarted:
    case AuditKind::kEnrolled:
    case AuditKind::kCame:
    case AuditKind::kJoined:
    case AuditKind::kRefused:
    case AuditKind::kTokenEnded:
    case AuditKind::kDeployed:
      return false;
  }
  return false;
}

}  // namespace

const char* audit_name(AuditKind kind) {
  switch (kind) {
    case AuditKind::kStarted:
      return "started";
    case AuditKind::kEnrolled:
      return "enrolled";
    case AuditKind::kCame:
      return "came";
    case AuditKind::kJoined:
      return "joined";
    case AuditKind::kRefused:
      return "refused";
    case AuditKind::kApproved:
      return "approved";
    case AuditKind::kTokenMade:
      return "token_made";
    case AuditKind::kTokenEnded:
      return "token_ended";
    case AuditKind::kRevoked:
      return "revoked";
    case AuditKind::kDeployed:
      return "deployed";
    case AuditKind::kUnloaded:
      return "unloaded";
    case AuditKind::kDrained:
      return "drained";
    case AuditKind::kStopped:
      return "stopped";
  }
  return "unknown";
}

AuditLog::AuditLog(std::filesystem::path file, bool also_logs)
    : file_(std::move(file)), also_logs_(also_logs) {}

bool AuditLog::may_write(AuditKind kind, std::int64_t now_us) {
  if (is_by_admins(kind)) return true;
  constexpr std::int64_t kOne = 1'000'000;
  const std::int64_t elapsed_us = std::clamp<std::int64_t>(now_us - filled_us_, 0, kBurst * kOne);
  millionths_ = std::min(kBurst * kOne, millionths_ + elapsed_us);
  filled_us_ = now_us;
  if (millionths_ < kOne) {
    ++left_out_;
    return false;
  }
  millionths_ -= kOne;
  return true;
}

void AuditLog::add(AuditKind kind, const AuditEntry& entry, std::int64_t now_us) {
  if (file_.empty() || !may_write(kind, now_us)) return;
  nlohmann::json line = {{"unix_ms", unix_now_ms()}, {"what", audit_name(kind)}};
  const std::pair<const char*, const std::string&> fields[] = {
      {"key", entry.key},         {"role", entry.role},       {"token", entry.token},
      {"address", entry.address}, {"subject", entry.subject}, {"text", entry.text}};
  for (const auto& [name, value] : fields) {
    if (!value.empty()) line[name] = cut_entry(value);
  }
  if (left_out_ > 0) line["left_out_before"] = std::exchange(left_out_, 0);
  const std::string text = line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  append(text + "\n");
  if (also_logs_) log(LogLevel::kInfo, "audit: " + text);
}

void AuditLog::append(const std::string& line) {
  struct stat info {};
  if (::lstat(file_.c_str(), &info) == 0 &&
      static_cast<std::size_t>(info.st_size) + line.size() > kFileBytesMax) {
    std::error_code error;
    std::filesystem::rename(file_, file_.string() + ".1", error);
  }
  const int fd =
      ::open(file_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  const bool written =
      fd >= 0 && ::write(fd, line.data(), line.size()) == static_cast<ssize_t>(line.size());
  if (fd >= 0) ::close(fd);
  if (written || std::exchange(told_, true)) return;
  log(LogLevel::kWarning,
      "cannot keep the audit log in " + file_.string() + "; is its disk full, or is it a link?");
}

}  // namespace troupe::actors
