#include <utility>
#include <vector>

#include <troupe/actors/coordinator/reach.h>
#include <troupe/runtime/clock.h>
#include <troupe/runtime/log.h>

namespace troupe::actors::coordinator {
namespace {

// An attempt usually ends within three seconds; this is the limit for one that reports nothing.
constexpr std::int64_t kDialBackUs = 5'000'000;
// A refusal ends a dial for good, but the node may have learnt our key since: it is dialled again.
constexpr std::int64_t kDialAgainUs = 10'000'000;
// A node that has been gone for this long is no longer dialled. (Not at once: ZeroMQ 4.3.4 may
// abort, session_base.cpp:260, if a socket is closed just as its peer dies.)
constexpr std::int64_t kGiveUpUs = 10'000'000;

void dial(const HeadState& head, const net::PublicKey& node, const std::string& host,
          std::uint16_t port) {
  head.setup->link->transport()->dial(node, {host, port}, net::Channel::kActivations);
}

// Ends the wait of a node's Hello, and returns the Hello for the caller to answer; returns nothing
// if none waits.
std::optional<DialledBack> answered(HeadState& head, const net::PublicKey& node,
                                    const std::string& unreachable) {
  const auto joining = head.joining.extract(node);
  if (joining.empty()) return std::nullopt;
  return DialledBack{node, joining.mapped().incarnation, joining.mapped().hello, unreachable};
}

}  // namespace

void say_unreachable(HeadState& head, const net::PublicKey& node, const std::string& why) {
  log(LogLevel::kWarning, "node " + head.cluster.members.name_of(node) +
                              " gets no layers: the head cannot reach it: " + why);
  head.events.add(EventKind::kUnreachable, head.cluster.members.name_of(node), why);
}

std::optional<std::string> dial_back(HeadState& head, const net::PublicKey& node,
                                     std::uint64_t incarnation, const Hello& hello) {
  net::Transport* transport = head.setup->link->transport();
  if (transport == nullptr || node == head.own_key()) return "";
  if (hello.host.empty() || hello.port == 0) return "it did not say where it can be dialled";
  if (const auto waits = head.joining.find(node); waits != head.joining.end()) {
    const HeadState::Joining& before = waits->second;
    if (before.hello.host == hello.host && before.hello.port == hello.port) {
      waits->second.hello = hello;
      waits->second.incarnation = incarnation;
      return std::nullopt;
    }
  }
  StageConnection& connection = head.connections[node];
  const NodeRecord* record = head.cluster.members.find(node);
  const bool known = connection.dialled_host == hello.host && connection.dialled_port == hello.port;
  if (known && connection.open) return "";
  HeadState::Joining joining{hello, incarnation, monotonic_us(), false};
  if (!known && record != nullptr) {
    // The transport ends the attempts at the old address, and reports that like a failed attempt.
    head.setup->link->disconnect(node);
    joining.old_loss = !connection.open;
  }
  connection.dialled_host = hello.host;
  connection.dialled_port = hello.port;
  head.joining.insert_or_assign(node, std::move(joining));
  dial(head, node, hello.host, hello.port);
  return std::nullopt;
}

std::optional<DialledBack> on_reached(HeadState& head, const net::PublicKey& node) {
  if (head.joining.contains(node)) return answered(head, node, "");
  if (!head.cluster.members.is_alive(node)) return std::nullopt;
  // Orders that failed for lack of a connection may work now.
  head.cluster.deployments.forget_failures(node);
  if (head.cluster.members.set_unreachable(node, "")) {
    log(LogLevel::kInfo, "node " + head.cluster.members.name_of(node) + " can be reached now");
    head.events.add(EventKind::kReachable, head.cluster.members.name_of(node), "");
  }
  return std::nullopt;
}

std::optional<DialledBack> on_not_reached(HeadState& head, const net::PublicKey& node,
                                          const Status& why, bool was_connected) {
  if (was_connected) return std::nullopt;  // the transport tries again at once
  if (const auto joining = head.joining.find(node); joining != head.joining.end()) {
    if (std::exchange(joining->second.old_loss, false)) return std::nullopt;
    return answered(head, node, why.message());
  }
  const NodeRecord* record = head.cluster.members.find(node);
  if (record == nullptr || !record->alive()) return std::nullopt;
  const bool news = record->unreachable.empty();
  head.cluster.members.set_unreachable(node, why.message());
  if (news) say_unreachable(head, node, why.message());
  return std::nullopt;
}

void forget_hello(HeadState& head, const net::PublicKey& node) { head.joining.erase(node); }

std::vector<DialledBack> check_reach(HeadState& head) {
  std::vector<DialledBack> late;
  if (head.setup->link->transport() == nullptr) return late;
  const std::int64_t now = monotonic_us();
  for (const auto& [key, joining] : head.joining) {
    if (now - joining.since_us <= kDialBackUs) continue;
    late.push_back(
        {key, joining.incarnation, joining.hello, "the attempt did not report anything"});
  }
  for (const DialledBack& one : late) head.joining.erase(one.node);
  const bool again = now - head.dialled_again_us > kDialAgainUs;
  if (again) head.dialled_again_us = now;
  for (const NodeRecord* node : head.cluster.members.all()) {
    if (node->alive()) {
      if (again && !node->unreachable.empty() && !node->host.empty()) {
        dial(head, node->key, node->host, node->port);
      }
    } else if (now - node->heard_us > kGiveUpUs && !head.joining.contains(node->key) &&
               head.connections.erase(node->key) != 0) {
      head.setup->link->disconnect(node->key);
    }
  }
  return late;
}

}  // namespace troupe::actors::coordinator
