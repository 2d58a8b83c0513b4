#pragma once

#include <string>

#include <troupe/actors/coordinator/head_state.h>

// What the head's actor writes into its audit log (audit.h).

namespace troupe::actors::coordinator {

// The process that asks for something, as the audit log names it.
struct Asking {
  net::PublicKey key{};  // of the connection
  net::Role role = net::Role::kAdmin;
  std::string address;  // from which it is connected; "" is this process itself
};
Asking asking_of(const net::InFrame& frame);

// Makes an entry of the process's identity, role, token and address, and of what the entry is
// about.
AuditEntry audit_entry(const HeadState& head, const Asking& asking, std::string subject,
                       std::string text = "");
void audit(HeadState& head, AuditKind kind, const AuditEntry& entry);

// Records that a newcomer was let in, or that a client that was enrolled before has connected;
// `identity` is that of the client, or the node's key. Only the first connection of an identity in
// this run is written.
void audit_enrolled(HeadState& head, const net::InFrame& frame, const net::PublicKey& identity,
                    net::Role role, const std::string& name, bool is_new);

}  // namespace troupe::actors::coordinator
