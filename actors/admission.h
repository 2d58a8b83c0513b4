#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <troupe/runtime/net/keys.h>
#include <troupe/runtime/status.h>

// Who may belong to a cluster, on the head's side: its id and name, the enrolment tokens and the
// keys that were enrolled, kept in HOME/head.json (0600). And a node's memory of the cluster that
// it belongs to, HOME/member.json. Values and files; no actor, no socket.

namespace troupe::actors {

// An enrolment secret: what it may enrol, until when, how often.
struct TokenRecord {
  net::Token token;
  bool nodes = true, clients = true;  // roles that it may enrol
  std::int64_t expires_unix_s = 0;    // 0: never
  std::uint32_t uses_left = 0;
};

class Admission {
 public:
  // Reads HOME/head.json, or makes a new cluster. Renews the join token when it is about to expire
  // or used up. kBadData when the file cannot be understood.
  static Result<Admission> load_or_make(const std::filesystem::path& home,
                                        const net::PublicKey& head, std::int64_t now_unix_s);

  std::uint64_t cluster() const { return cluster_; }
  const std::string& cluster_name() const { return name_; }
  const TokenRecord& join_token() const { return join_; }
  // For clients on this machine; lives as long as the process.
  const TokenRecord& local_token() const { return local_; }
  // Nodes that were enrolled, also before a restart.
  const std::vector<net::PublicKey>& nodes() const { return nodes_; }

  // `via` (an enrolment key) wants `key` enrolled as `role`. Counts the use and remembers nodes.
  //   Errors: kPermissionDenied (expired, used up, or not for this role) in words.
  Status enrol(const net::PublicKey& via, const net::PublicKey& key, net::Role role,
               std::int64_t now_unix_s);

 private:
  Status save() const;
  std::filesystem::path path_;
  std::uint64_t cluster_ = 0;
  std::string name_;
  TokenRecord join_, local_;
  std::vector<net::PublicKey> nodes_;
};

// A node's membership.
struct Membership {
  std::uint64_t cluster = 0;
  std::string cluster_name;
  net::PublicKey head{};
  std::string head_host;
  std::uint16_t head_port = 0;
};
// The file that makes a home a head's.
std::filesystem::path head_file(const std::filesystem::path& home);
// nullopt when there is none; kBadData names a file that cannot be read.
Result<std::optional<Membership>> load_membership(const std::filesystem::path& home);
Status save_membership(const std::filesystem::path& home, const Membership& membership);

// The file through which clients of the same user find the head that listens on `port`:
// $XDG_RUNTIME_DIR/troupe/PORT.client, or a 0700 folder of the user's under /tmp. Holds
// TOKEN@HOST:PORT, mode 0600.
Result<std::filesystem::path> client_key_path(std::uint16_t port);

}  // namespace troupe::actors
