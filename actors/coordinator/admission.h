#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include <troupe/runtime/net/keys.h>
#include <troupe/runtime/status.h>

// Which processes may belong to a cluster, as the head knows it: the cluster's id and name, the
// enrolment tokens, and the keys that were enrolled or revoked. All of it is kept in HOME/head.json
// (0600). Values and a file; no actor, no socket.

namespace troupe::actors {

// An enrolment secret, with what it may enrol, until when, and how often.
struct TokenRecord {
  std::string id;  // key_id of the enrolling key: people name the token by it; it is not a secret
  // The secret itself, which only the process that made the token knows: the file has the key
  // alone.
  std::optional<net::Token> token;
  net::PublicKey key{};                                 // the key with which a newcomer enrols
  net::Role role = net::Role::kNode;                    // the role of the newcomers that it lets in
  std::int64_t created_unix_s = 0, expires_unix_s = 0;  // expires_unix_s 0: never
  std::uint32_t uses_left = 0;
  std::int64_t used_unix_s = 0;  // when it last let a newcomer in, as far as this process knows
  bool ended = false;            // it was removed from the list of keys that may connect
  bool usable(std::int64_t now_unix_s) const {
    return uses_left > 0 && (expires_unix_s == 0 || now_unix_s <= expires_unix_s);
  }
};

// A node's key, or a client's identity, that was enrolled and may have been revoked since.
struct MemberRecord {
  std::string id;  // key_id
  net::PublicKey key{};
  net::Role role = net::Role::kNode;
  std::string name;   // the name that the cluster gave a node
  std::string token;  // id of the token that enrolled it; empty if that is not known
  std::int64_t since_unix_s = 0;
  bool revoked = false;
  // The incarnation of the node's process that is being drained; 0 if none is. A process that is
  // started anew has another.
  std::uint64_t drained = 0;
};

// What a new token should allow.
struct TokenRequest {
  net::Role role = net::Role::kNode;
  std::uint32_t uses = 1;
  std::int64_t lifetime_s = 24 * 3600;  // 0: forever
};

// A newcomer with a valid token that waits until an admin lets it in, or was told to come again.
struct WaitingRecord {
  std::string id;  // key_id
  net::PublicKey key{};
  net::Role role = net::Role::kNode;
  std::string name;  // the name that it gave itself
  std::string token;
  std::int64_t since_unix_s = 0;
  bool approved = false;
};

// What was revoked: a token, a node or a client.
struct Revoked {
  net::PublicKey key{};
  std::optional<net::Role> member;  // absent if it was a token
  std::string text;                 // a sentence for people
};

// If a change cannot be saved, the call returns an error, and nothing has changed.
class Admission {
 public:
  // Reads HOME/head.json, or makes a new cluster. Makes a new join token, for an hour; those of
  // earlier starts go on until they expire.
  //   Errors: kBadData (the file cannot be understood).
  static Result<Admission> load_or_make(const std::filesystem::path& home,
                                        const net::PublicKey& head, std::int64_t now_unix_s);

  std::uint64_t cluster() const { return cluster_; }
  const std::string& cluster_name() const { return name_; }
  // Returns the token that `troupe start` prints, with its secret.
  const TokenRecord& join_token() const { return tokens_.front(); }
  // Returns the token for clients on this machine, which lives as long as the process.
  const TokenRecord& local_token() const { return local_; }
  // Makes the token for clients on this machine anew, as each process does when it starts.
  void renew_local_token(std::int64_t now_unix_s);
  // Returns all tokens: the join token first, then those of `troupe key new`.
  const std::vector<TokenRecord>& tokens() const { return tokens_; }
  // Returns all nodes and clients that were ever enrolled, including revoked ones.
  const std::vector<MemberRecord>& members() const { return members_; }
  bool is_revoked(const net::PublicKey& key) const;
  // Returns all keys that may connect when the head starts.
  std::vector<std::pair<net::PublicKey, net::Role>> allowed() const;

  // Enrols `key` as a node or, for kClient, as one connection of the client `identity`, if the door
  // `via` allows it: a token, or the identity of a client that was enrolled before. A new member
  // counts as one use of its token and is remembered. Returns the role that `key` has now: a new
  // key gets the token's role, and a known one keeps its own.
  // `name` is what the newcomer calls itself.
  //   Errors: kPermissionDenied (the token has expired, is used up, is not for this role, or was
  //   revoked; the key was revoked, or is known in another role; or it waits for approval); the
  //   text says which.
  Result<net::Role> enrol(const net::PublicKey& via, const net::PublicKey& key,
                          const net::PublicKey& identity, net::Role role, std::int64_t now_unix_s,
                          const std::string& name = "");
  // Lets newcomers with a valid token wait from now on until approve() names them. Clients of the
  // head's own user do not wait.
  void ask_approval() { asks_approval_ = true; }
  // Returns the newcomers that wait, the last kWaitingMax. Those that are approved are kept in the
  // file; the others are forgotten when the process ends.
  const std::vector<WaitingRecord>& waiting() const { return waiting_; }
  // Approves a waiting newcomer by its name or id: it is let in when it comes again.
  //   Errors: kNotFound, kInvalidArgument (several have the name; the text has their ids), and
  //   those of the file.
  Result<WaitingRecord> approve(const std::string& id_or_name);
  static constexpr std::size_t kWaitingMax = 256;
  // Ends tokens that are used up or have expired, some seconds after their last use: their keys may
  // no longer connect. Returns the keys of the tokens that this call ended.
  std::vector<net::PublicKey> end_tokens(std::int64_t now_unix_s);
  // Records that the node of `key` now has this name.
  Status rename(const net::PublicKey& key, const std::string& name);
  // Records that this process of a node is being drained (`incarnation` 0: that none is), for a
  // head that is started again. A key that is not a member's, such as that of the head's own node,
  // is ignored.
  Status set_drained(const net::PublicKey& key, std::uint64_t incarnation);
  bool is_drained(const net::PublicKey& key, std::uint64_t incarnation) const;
  // Makes a token and saves it.
  //   Errors: kInvalidArgument (no use, no role), kResourceExhausted (too many tokens).
  Result<TokenRecord> make_token(const TokenRequest& request, std::int64_t now_unix_s);
  // Revokes a token by its id, or a node or client by its name or id: its key can neither enrol nor
  // join again.
  //   Errors: kNotFound, kInvalidArgument (no name, or several have it; the text has their ids).
  Result<Revoked> revoke(const std::string& id_or_name);

 private:
  Status read_tokens(const nlohmann::json& file, std::int64_t now_unix_s);
  // Writes the file. If that fails, the tokens, members and approvals are again those that were
  // saved last.
  Status save();
  void restore_waiting();
  Status check_fresh(const net::PublicKey& key) const;
  Status check_approved(const WaitingRecord& newcomer);
  const MemberRecord* find_member(const net::PublicKey& key) const;
  std::filesystem::path path_;
  std::uint64_t cluster_ = 0;
  net::PublicKey head_{};
  std::string name_;
  TokenRecord local_;
  std::vector<TokenRecord> tokens_;  // never empty: the join token comes first
  std::vector<MemberRecord> members_;
  bool asks_approval_ = false;
  std::vector<WaitingRecord> waiting_;
  // The three lists as they were when the file was written.
  std::vector<WaitingRecord> saved_waiting_;
  std::vector<TokenRecord> saved_tokens_;
  std::vector<MemberRecord> saved_members_;
};

// Returns the file that marks a home as that of a head.
std::filesystem::path head_file(const std::filesystem::path& home);

}  // namespace troupe::actors
