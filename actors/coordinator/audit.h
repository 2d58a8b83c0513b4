#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

// The audit log: who came in, was refused or was excluded, and who changed the cluster, by key,
// token and address. It is for the people who must find out later what happened; no decision
// depends on it. No secret is in it: keys and tokens are named by their ids. One thread at a time.

namespace troupe::actors {

enum class AuditKind : std::uint8_t {
  kStarted,     // the head
  kEnrolled,    // a node or client came in by a token
  kCame,        // a client that was enrolled before connected, for the first time in this run
  kJoined,      // a node was welcomed
  kRefused,     // a process was turned away, or asked for something that its role may not have
  kApproved,    // a newcomer that waited was let in
  kTokenMade,   // a token was made
  kTokenEnded,  // a token expired or is used up
  kRevoked,     // a token, node or client was revoked
  kDeployed,    // a model's layers were placed for a client
  kUnloaded,    // a client unloaded a model
  kDrained,     // a node began to drain, or gets layers again
  kStopped,     // a client stopped the head or the cluster
};
const char* audit_name(AuditKind kind);

struct AuditEntry {
  std::string key;      // key_id of the process that did it or that it was done to
  std::string role;     // of that key
  std::string token;    // id of the token by which it came, if that is known
  std::string address;  // from which it is connected
  std::string subject;  // a name, a model, or another key's id
  std::string text;     // the reason; may be empty
};

class AuditLog {
 public:
  // Before the file grows beyond this, it is renamed: ".1" is appended to its name, and an older
  // file of that name is replaced.
  static constexpr std::size_t kFileBytesMax = 1u << 20;
  // The number of entries that others can cause at will (all but kApproved, kTokenMade, kRevoked,
  // kUnloaded, kDrained, kStopped) is limited: this many at once, then one per second. The next
  // entry says how many were left out.
  static constexpr std::int64_t kBurst = 600;

  // Nothing is kept.
  AuditLog() = default;
  // Writes entries as JSON objects, one on each line of the file (mode 0600), and also into the log
  // if `also_logs` is set (under systemd, the log is systemd's journal). If the file cannot be
  // written, the log says so, once.
  AuditLog(std::filesystem::path file, bool also_logs);

  // Writes an entry. `now_us` is monotonic; the line has the time of day.
  void add(AuditKind kind, const AuditEntry& entry, std::int64_t now_us);

 private:
  bool may_write(AuditKind kind, std::int64_t now_us);
  void append(const std::string& line);

  std::filesystem::path file_;
  bool also_logs_ = false;
  bool told_ = false;
  std::int64_t millionths_ = kBurst * 1'000'000;  // of entries that may be written now
  std::int64_t filled_us_ = 0;
  std::uint64_t left_out_ = 0;
};

}  // namespace troupe::actors
