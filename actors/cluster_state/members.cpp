#include <algorithm>
#include <utility>

#include <troupe/actors/cluster_state/members.h>
#include <troupe/actors/messages/lease.h>
#include <troupe/runtime/numerics/arithmetic_version.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::actors {
namespace {

// If the head itself was paused for this long, it cannot judge: it grants all nodes a fresh lease.
constexpr std::int64_t kStallUs = 600'000;
// Nodes that are gone are listed for this long, and this many of them.
constexpr std::int64_t kGoneUs = 3'600'000'000;
constexpr std::size_t kGoneMax = 64;
// A node's report on its machine may have this number of sentences and bytes.
constexpr std::size_t kTroublesMax = 8, kTroubleBytesMax = 400, kProgramBytesMax = 64;

}  // namespace

const char* life_name(NodeLife life) {
  switch (life) {
    case NodeLife::kReady:
      return "ready";
    case NodeLife::kSuspect:
      return "suspect";
    case NodeLife::kDead:
      return "dead";
    case NodeLife::kLeft:
      return "left";
  }
  return "unknown";
}

const char* NodeRecord::state() const {
  if (!alive()) return life_name(life);
  if (!unreachable.empty()) return "unreachable";
  return draining ? "draining" : life_name(life);
}

Status check_node_name(std::string_view name) {
  constexpr std::size_t kBytesMax = 64;
  bool plain = name.size() <= kBytesMax && utf8_valid_prefix(name) == name.size();
  for (std::size_t at = 0; plain && at < name.size();) {
    const Utf8Char c = utf8_char(name.substr(at));
    plain =
        c.code_point >= 0x20 && c.code_point != ',' && (c.code_point < 0x7f || c.code_point > 0x9f);
    at += c.bytes;
  }
  if (plain) return Status::ok();
  return Status(Code::kInvalidArgument,
                "a node cannot be named " + in_quotes(name) +
                    "; a name has at most 64 bytes of UTF-8 without commas and control characters "
                    "(--name)");
}

std::string Members::unique_name(const std::string& wished, const net::PublicKey& key) const {
  const auto taken = [&](const std::string& name) {
    return std::any_of(nodes_.begin(), nodes_.end(), [&](const auto& entry) {
      return entry.first != key && entry.second.alive() && entry.second.name == name;
    });
  };
  const std::string base = wished.empty() ? "node" : wished;
  std::string name = base;
  for (int i = 2; taken(name); ++i) name = base + "-" + std::to_string(i);
  return name;
}

Status Members::may_join(const net::PublicKey& key, const Hello& hello,
                         std::uint64_t incarnation) const {
  for (const std::string& shown : {hello.name, hello.host, hello.isa, hello.memory_pool}) {
    TROUPE_RETURN_IF_ERROR(check_node_name(shown));
  }
  if (hello.arithmetic != kArithmeticVersion) {
    return Status(Code::kFailedPrecondition,
                  "this node computes by arithmetic version " + std::to_string(hello.arithmetic) +
                      ", its cluster by version " + std::to_string(kArithmeticVersion) +
                      ", and answers of both would differ; install the head's release of Troupe on "
                      "the node and start it again");
  }
  const auto found = nodes_.find(key);
  if (found != nodes_.end() && found->second.alive() && found->second.incarnation != incarnation) {
    return Status(Code::kAlreadyExists,
                  "a live node, \"" + found->second.name +
                      "\", has this key already; give every daemon a home of its own (--home)");
  }
  return Status();
}

Result<std::string> Members::join(const net::PublicKey& key, const Hello& hello, bool works,
                                  std::uint64_t incarnation, std::int64_t now_us) {
  TROUPE_RETURN_IF_ERROR(may_join(key, hello, incarnation));
  if (!nodes_.contains(key)) order_.push_back(key);
  NodeRecord& record = nodes_[key];
  const bool stays_drained = record.draining && record.incarnation == incarnation;
  record = NodeRecord{};
  record.draining = stays_drained;
  record.key = key;
  record.name = unique_name(hello.name, key);
  record.host = hello.host;
  record.port = hello.port;
  record.isa = hello.isa;
  record.threads = hello.threads;
  record.offered_bytes = hello.memory_bytes;
  record.memory_pool = hello.memory_pool;
  record.incarnation = incarnation;
  record.greeting = hello.greeting;
  record.program = plain_line(hello.program, kProgramBytesMax);
  record.works = works;
  record.heard_us = now_us;
  share_pools();
  return record.name;
}

void Members::share_pools() {
  std::map<std::string, std::uint64_t> sharers;
  for (const auto& [key, node] : nodes_)
    if (node.alive() && node.works && !node.memory_pool.empty()) ++sharers[node.memory_pool];
  for (auto& [key, node] : nodes_) {
    const auto pool = sharers.find(node.memory_pool);
    const bool shares = pool != sharers.end() && node.alive() && node.works;
    node.memory_bytes = shares ? node.offered_bytes / pool->second : node.offered_bytes;
  }
}

bool Members::has_greeted(const net::PublicKey& key, std::uint64_t incarnation,
                          std::uint32_t greeting) const {
  const NodeRecord* node = find(key);
  return node != nullptr && node->alive() && node->incarnation == incarnation &&
         greeting <= node->greeting;
}

bool Members::heartbeat(const net::PublicKey& key, std::uint64_t incarnation, const Heartbeat& beat,
                        std::int64_t now_us) {
  const auto found = nodes_.find(key);
  if (found == nodes_.end() || !found->second.alive() || found->second.incarnation != incarnation) {
    return false;
  }
  found->second.heard_us = now_us;
  found->second.life = NodeLife::kReady;
  found->second.stats = beat.stats;
  found->second.troubles.clear();
  for (const std::string& trouble : beat.troubles) {
    if (found->second.troubles.size() == kTroublesMax) break;
    found->second.troubles.push_back(plain_line(trouble, kTroubleBytesMax));
  }
  return true;
}

void Members::set_clock_ahead(const net::PublicKey& key, std::int64_t ms) {
  if (const auto found = nodes_.find(key); found != nodes_.end()) found->second.clock_ahead_ms = ms;
}

bool Members::leave(const net::PublicKey& key, NodeLife life) {
  const auto found = nodes_.find(key);
  if (found == nodes_.end() || !found->second.alive()) return false;
  found->second.life = life;
  found->second.stats.weights_bytes = found->second.stats.kv_bytes = 0;
  share_pools();
  return true;
}

std::vector<net::PublicKey> Members::tick(std::int64_t now_us) {
  const bool stalled = last_tick_us_ != 0 && now_us - last_tick_us_ > kStallUs;
  last_tick_us_ = now_us;
  std::vector<net::PublicKey> died;
  for (auto& [key, node] : nodes_) {
    if (!node.alive()) continue;
    if (stalled) node.heard_us = now_us;
    const std::int64_t silent = now_us - node.heard_us;
    if (silent > kDeadUs) {
      leave(key, NodeLife::kDead);
      died.push_back(key);
    } else {
      node.life = silent > kSuspectUs ? NodeLife::kSuspect : NodeLife::kReady;
    }
  }
  forget_the_gone(now_us);
  return died;
}

void Members::forget_the_gone(std::int64_t now_us) {
  std::vector<std::pair<std::int64_t, net::PublicKey>> gone;
  for (const auto& [key, node] : nodes_)
    if (!node.alive()) gone.emplace_back(node.heard_us, key);
  std::sort(gone.begin(), gone.end());  // the node that was heard last comes last
  const std::size_t surplus = gone.size() - std::min(gone.size(), kGoneMax);
  for (std::size_t i = 0; i < gone.size(); ++i) {
    if (i >= surplus && now_us - gone[i].first < kGoneUs) break;
    nodes_.erase(gone[i].second);
    std::erase(order_, gone[i].second);
  }
}

bool Members::set_unreachable(const net::PublicKey& key, const std::string& why) {
  const auto found = nodes_.find(key);
  if (found == nodes_.end() || found->second.unreachable == why) return false;
  found->second.unreachable = why;
  return true;
}

bool Members::set_draining(const net::PublicKey& key, bool draining) {
  const auto found = nodes_.find(key);
  if (found == nodes_.end() || found->second.draining == draining) return false;
  found->second.draining = draining;
  return true;
}

void Members::add_copied_bytes(const net::PublicKey& key, std::uint64_t bytes) {
  const auto found = nodes_.find(key);
  if (found != nodes_.end()) found->second.copied_bytes += bytes;
}

const NodeRecord* Members::find_named(const std::string& name) const {
  const NodeRecord* found = nullptr;
  for (const net::PublicKey& key : order_) {
    const NodeRecord& node = nodes_.at(key);
    if (node.name == name && (found == nullptr || !found->alive())) found = &node;
  }
  return found;
}

const NodeRecord* Members::find(const net::PublicKey& key) const {
  const auto found = nodes_.find(key);
  return found == nodes_.end() ? nullptr : &found->second;
}

bool Members::is_alive(const net::PublicKey& key) const {
  const NodeRecord* node = find(key);
  return node != nullptr && node->alive();
}

std::string Members::name_of(const net::PublicKey& key) const {
  const NodeRecord* node = find(key);
  return node != nullptr ? node->name : "?";
}

Workers Members::all() const {
  Workers nodes;
  for (const net::PublicKey& key : order_) nodes.push_back(&nodes_.at(key));
  return nodes;
}

Workers Members::workers(const std::set<net::PublicKey>& unfit) const {
  Workers nodes = all();
  std::erase_if(nodes, [&](const NodeRecord* node) {
    return !node->alive() || !node->works || node->draining || !node->unreachable.empty() ||
           unfit.contains(node->key);
  });
  return nodes;
}

}  // namespace troupe::actors
