#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <troupe/runtime/net/keys.h>
#include <troupe/runtime/status.h>

// Who may belong to a cluster, on the head's side: its id and name, the enrolment tokens, the keys
// that were enrolled and those that were revoked, kept in HOME/head.json (0600). Values and a file;
// no actor, no socket.

namespace troupe::actors {

// An enrolment secret: what it may enrol, until when, how often.
struct TokenRecord {
  std::string id;  // key_id of its enrolling key: names it to people, and is no secret
  net::Token token;
  net::PublicKey key{};                                 // the key that enrols with it
  bool nodes = true, clients = true;                    // roles that it may enrol
  std::int64_t created_unix_s = 0, expires_unix_s = 0;  // expires 0: never
  std::uint32_t uses_left = 0;  // by nodes, if it is for them, else by clients
  bool usable(std::int64_t now_unix_s) const {
    return uses_left > 0 && (expires_unix_s == 0 || now_unix_s <= expires_unix_s);
  }
};

// A node's key that was enrolled, or that was and is not allowed any more.
struct MemberRecord {
  std::string id;  // key_id
  net::PublicKey key{};
  std::string name;   // as the cluster calls it
  std::string token;  // id of the token that enrolled it; "" when that is not known
  std::int64_t since_unix_s = 0;
  bool revoked = false;
};

// What a new token is to be.
struct TokenRequest {
  bool nodes = true, clients = false;
  std::uint32_t uses = 1;
  std::int64_t lifetime_s = 24 * 3600;  // 0: for ever
};

// What was revoked: a token, or a node.
struct Revoked {
  net::PublicKey key{};
  bool node = false;
  std::string text;  // a sentence for people
};

class Admission {
 public:
  // Reads HOME/head.json, or makes a new cluster. Renews the join token when it is about to expire,
  // used up or revoked. kBadData when the file cannot be understood.
  static Result<Admission> load_or_make(const std::filesystem::path& home,
                                        const net::PublicKey& head, std::int64_t now_unix_s);

  std::uint64_t cluster() const { return cluster_; }
  const std::string& cluster_name() const { return name_; }
  // That `troupe start` prints.
  const TokenRecord& join_token() const { return tokens_.front(); }
  // For clients on this machine; lives as long as the process.
  const TokenRecord& local_token() const { return local_; }
  // The join token, then those of `troupe key new`.
  const std::vector<TokenRecord>& tokens() const { return tokens_; }
  // Nodes that were enrolled, also before a restart, and those that were revoked.
  const std::vector<MemberRecord>& members() const { return members_; }
  bool is_revoked(const net::PublicKey& key) const;
  // Every key that may connect when the head starts.
  std::vector<std::pair<net::PublicKey, net::Role>> allowed() const;

  // `via` (an enrolment key) wants `key` enrolled as `role`. Counts the use and remembers nodes.
  //   Errors: kPermissionDenied (expired, used up, not for this role, or revoked) in words.
  Status enrol(const net::PublicKey& via, const net::PublicKey& key, net::Role role,
               std::int64_t now_unix_s);
  // The node of `key` is called so now.
  Status rename(const net::PublicKey& key, const std::string& name);
  //   Errors: kInvalidArgument (no use, no role), kResourceExhausted (too many tokens).
  Result<TokenRecord> make_token(const TokenRequest& request, std::int64_t now_unix_s);
  // A token by its id, a node by its name or id. Its key can enrol nothing and join nothing again.
  //   Errors: kNotFound, kInvalidArgument (several have this name: says their ids).
  Result<Revoked> revoke(const std::string& id_or_name);

 private:
  Status save() const;
  std::filesystem::path path_;
  std::uint64_t cluster_ = 0;
  net::PublicKey head_{};
  std::string name_;
  TokenRecord local_;
  std::vector<TokenRecord> tokens_;  // never empty: the join token comes first
  std::vector<MemberRecord> members_;
};

// The file that makes a home a head's.
std::filesystem::path head_file(const std::filesystem::path& home);

}  // namespace troupe::actors
