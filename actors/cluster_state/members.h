#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <troupe/actors/messages/membership.h>
#include <troupe/runtime/net/keys.h>
#include <troupe/runtime/status.h>

// The nodes of a cluster: their names, what they offer, and which of them are alive. Pure: the time
// is an argument. Part of ClusterState.

namespace troupe::actors {

enum class NodeLife { kReady, kSuspect, kDead, kLeft };
const char* life_name(NodeLife life);

struct NodeRecord {
  net::PublicKey key{};
  std::string name, host, isa;
  std::uint16_t port = 0;
  std::uint32_t threads = 0;
  std::uint64_t memory_bytes = 0;   // the node's share of the memory that its pool offers
  std::uint64_t offered_bytes = 0;  // the memory that its Hello offers
  std::string memory_pool;          // as its Hello says
  std::uint64_t incarnation = 0;
  std::uint32_t greeting = 0;  // of its last Hello
  bool works = true;           // false for a head that holds no layers
  bool draining = false;       // whether it is about to go, so that it gets no layers
  std::string unreachable;  // why the head cannot dial it, so that it gets no layers; "" if it can
  std::string program;      // the version of Troupe that it runs
  std::vector<std::string> troubles;  // troubles of its machine, from its last heartbeat
  std::int64_t clock_ahead_ms = 0;    // of the head's clock
  NodeLife life = NodeLife::kReady;
  std::int64_t heard_us = 0;
  NodeStats stats;
  std::uint64_t copied_bytes = 0;  // weights that it fetched in the background since it joined
  bool alive() const { return life == NodeLife::kReady || life == NodeLife::kSuspect; }
  // Returns "unreachable", "draining", or the word for the node's life.
  const char* state() const;
};
using Workers = std::vector<const NodeRecord*>;

// Checks a node's name, which is shown to everyone: it has at most 64 bytes of UTF-8, without
// control characters and without commas, which separate the names in lists of nodes. An empty name
// is allowed, since the head then chooses one.
//   Errors: kInvalidArgument, which says what is wrong with the name.
Status check_node_name(std::string_view name);

class Members {
 public:
  // Checks whether a node that says Hello may be admitted.
  //   Errors: kFailedPrecondition (it computes by another arithmetic version), kAlreadyExists (a
  //   live node has this key), kInvalidArgument (a name, host or ISA that cannot be shown).
  Status may_join(const net::PublicKey& key, const Hello& hello, std::uint64_t incarnation) const;
  // Admits a node that says Hello and returns the unique name that it gets.
  //   Errors: those of may_join.
  Result<std::string> join(const net::PublicKey& key, const Hello& hello, bool works,
                           std::uint64_t incarnation, std::int64_t now_us);
  // True if the node is alive and joined with this Hello or a newer one: the Hello changes nothing.
  bool has_greeted(const net::PublicKey& key, std::uint64_t incarnation,
                   std::uint32_t greeting) const;
  // Renews a lease. Returns false if the node is not a member, or no longer one: it must say Hello
  // again.
  bool heartbeat(const net::PublicKey& key, std::uint64_t incarnation, const Heartbeat& beat,
                 std::int64_t now_us);
  // Records by how much the node's clock is ahead of the head's.
  void set_clock_ahead(const net::PublicKey& key, std::int64_t ms);
  // Says that the node's connection closed, or that the node left. Returns false if it was gone
  // already.
  bool leave(const net::PublicKey& key, NodeLife life);
  // Checks the leases and returns the nodes that have died since the last call. Forgets nodes that
  // have been gone for an hour, and all but the last 64 of them: each restart of a container
  // without a home of its own counts as another node.
  std::vector<net::PublicKey> tick(std::int64_t now_us);
  // Records why the head cannot dial the node, or "" if it can. Returns true if that is a change.
  bool set_unreachable(const net::PublicKey& key, const std::string& why);
  // Marks a node that is about to go: it gets no layers until it has gone or starts anew. Returns
  // true if that is a change.
  bool set_draining(const net::PublicKey& key, bool draining);
  void add_copied_bytes(const net::PublicKey& key, std::uint64_t bytes);

  // Returns the node of this name that is alive, else the last one that had it, else nullptr.
  const NodeRecord* find_named(const std::string& name) const;
  // Returns nullptr if no node ever had this key.
  const NodeRecord* find(const net::PublicKey& key) const;
  bool is_alive(const net::PublicKey& key) const;
  // Returns the node's name, or "?" if there is no such node.
  std::string name_of(const net::PublicKey& key) const;
  // Returns all nodes that ever joined, in the order in which they joined.
  Workers all() const;
  // Returns the nodes, except the unfit ones, that are alive, can be dialled, are not being drained
  // and may hold layers, in the order in which they joined.
  Workers workers(const std::set<net::PublicKey>& unfit = {}) const;

 private:
  std::string unique_name(const std::string& wished, const net::PublicKey& key) const;
  void forget_the_gone(std::int64_t now_us);
  // Gives each node of a pool an equal share of what it offers.
  void share_pools();
  std::map<net::PublicKey, NodeRecord> nodes_;
  std::vector<net::PublicKey> order_;
  std::int64_t last_tick_us_ = 0;
};

}  // namespace troupe::actors
