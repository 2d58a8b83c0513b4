#include <utility>

#include <troupe/actors/coordinator/audited.h>
#include <troupe/runtime/clock.h>

namespace troupe::actors::coordinator {
namespace {

// A bound on the identities that are remembered as seen; beyond it, all are forgotten.
constexpr std::size_t kSeenMax = 4096;

std::string token_of(const HeadState& head, const net::PublicKey& identity) {
  if (!head.setup->admission) return "";
  for (const MemberRecord& member : head.setup->admission->members()) {
    if (member.key == identity) return member.token;
  }
  return "";
}

}  // namespace

Asking asking_of(const net::InFrame& frame) { return {frame.peer, frame.role, frame.address}; }

AuditEntry audit_entry(const HeadState& head, const Asking& asking, std::string subject,
                       std::string text) {
  AuditEntry entry;
  const auto identity = net::key_from_z85(head.owners->of(asking.key));
  const net::PublicKey key = identity ? *identity : asking.key;
  entry.key = net::key_id(key);
  entry.role = net::role_name(asking.role);
  entry.token = token_of(head, key);
  entry.address = asking.address.empty() ? "this process" : asking.address;
  entry.subject = std::move(subject);
  entry.text = std::move(text);
  return entry;
}

void audit(HeadState& head, AuditKind kind, const AuditEntry& entry) {
  head.audit.add(kind, entry, monotonic_us());
}

void audit_enrolled(HeadState& head, const net::InFrame& frame, const net::PublicKey& identity,
                    net::Role role, const std::string& name, bool is_new) {
  if (head.audited.size() >= kSeenMax) head.audited.clear();
  const bool first = head.audited.insert(identity).second;
  if (!is_new && !first) return;
  AuditEntry entry;
  entry.key = net::key_id(identity);
  entry.role = net::role_name(role);
  const bool local = frame.peer == head.setup->admission->local_token().key;
  entry.token = local                    ? "the head's user"
                : frame.peer == identity ? token_of(head, identity)
                                         : net::key_id(frame.peer);
  entry.address = frame.address;
  entry.subject = name;
  audit(head, is_new ? AuditKind::kEnrolled : AuditKind::kCame, entry);
}

}  // namespace troupe::actors::coordinator
