#pragma once

#include <cstdint>
#include <string>

#include <troupe/actors/messages/membership.h>
#include <troupe/runtime/net/keys.h>
#include <troupe/runtime/status.h>

// How a newcomer shows that the keys that it enrols are its own. Without this, a process that has a
// token could enrol a stranger's key, and change what the head knows about it. Pure.

namespace troupe::actors {

// The context to which an enrolment is bound: it is worth nothing in another cluster, through
// another door, or from another process.
struct EnrolmentPlace {
  std::uint64_t cluster = 0;
  net::PublicKey door{};          // the key that the connection shows: a token's, or an identity
  std::uint64_t incarnation = 0;  // of the newcomer's process
};

// Makes an Enrol for the `key` of a node, or for the key of a client's connection that belongs to
// `identity`.
Enrol make_enrol(const EnrolmentPlace& place, const net::PublicKey& head, const net::KeyPair& key,
                 const net::KeyPair& identity, net::Role role, const std::string& name);
//   Errors: kPermissionDenied (the newcomer does not have the secret half of a key that it names).
Status check_enrol(const EnrolmentPlace& place, const net::KeyPair& head, const Enrol& enrol);

}  // namespace troupe::actors
