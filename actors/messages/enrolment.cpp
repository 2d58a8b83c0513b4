#include <string_view>
#include <vector>

#include <troupe/actors/messages/enrolment.h>
#include <troupe/runtime/net/key_proof.h>

namespace troupe::actors {
namespace {

constexpr std::string_view kDomain = "troupe-enrol-2";

void append(std::vector<std::uint8_t>& bytes, std::uint64_t number) {
  for (int i = 0; i < 8; ++i) bytes.push_back(static_cast<std::uint8_t>(number >> (8 * i)));
}

// Returns "troupe-enrol-2", cluster (8), door (32), key (32), identity (32), role (1), incarnation
// (8).
std::vector<std::uint8_t> statement_of(const EnrolmentPlace& place, const Enrol& enrol) {
  std::vector<std::uint8_t> bytes(kDomain.begin(), kDomain.end());
  append(bytes, place.cluster);
  for (const net::PublicKey* key : {&place.door, &enrol.key, &enrol.identity}) {
    bytes.insert(bytes.end(), key->begin(), key->end());
  }
  bytes.push_back(enrol.role);
  append(bytes, place.incarnation);
  return bytes;
}

}  // namespace

Enrol make_enrol(const EnrolmentPlace& place, const net::PublicKey& head, const net::KeyPair& key,
                 const net::KeyPair& identity, net::Role role, const std::string& name) {
  Enrol enrol;
  enrol.key = key.public_key;
  enrol.identity = identity.public_key;
  enrol.role = static_cast<std::uint8_t>(role);
  enrol.name = name;
  const auto statement = statement_of(place, enrol);
  enrol.key_proof = net::prove_key(key, head, statement);
  enrol.identity_proof = net::prove_key(identity, head, statement);
  return enrol;
}

Status check_enrol(const EnrolmentPlace& place, const net::KeyPair& head, const Enrol& enrol) {
  const auto statement = statement_of(place, enrol);
  if (net::proves_key(enrol.key, head, statement, enrol.key_proof) &&
      net::proves_key(enrol.identity, head, statement, enrol.identity_proof)) {
    return Status::ok();
  }
  return Status(Code::kPermissionDenied,
                "this enrolment does not prove that the newcomer owns the key that it names");
}

}  // namespace troupe::actors
