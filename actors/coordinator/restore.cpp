#include <algorithm>

#include <troupe/actors/coordinator/opening.h>
#include <troupe/actors/coordinator/placed_models.h>
#include <troupe/actors/coordinator/restore.h>
#include <troupe/runtime/clock.h>
#include <troupe/runtime/log.h>
#include <troupe/runtime/wire/encode.h>

namespace troupe::actors::coordinator {
namespace {

// Nodes try to reach their head again and again, with pauses of at most two seconds.
constexpr std::int64_t kComeBackUs = 6'000'000;

}  // namespace

void begin_restoring(HeadState& head) {
  head.manifests = head.setup->manifests;
  Restoring restoring;
  restoring.until_us = monotonic_us() + kComeBackUs;
  for (const PlacedModel& placed : head.setup->placed) {
    auto open = wire::decode<OpenModel>(std::as_bytes(std::span<const char>(placed.open)));
    const auto manifest = head.manifests.find(placed.model);
    if (!open || manifest == head.manifests.end()) continue;
    const auto asked = layer_ranges_of(*open);
    if (!asked) continue;
    open->manifest = manifest->second;
    open->has_manifest = true;
    restoring.models.emplace_back(placed.id, std::move(*open));
    std::vector<net::PublicKey> order;
    for (const std::string& node : placed.nodes) {
      net::PublicKey key{};
      std::copy_n(node.begin(), std::min(node.size(), key.size()), key.begin());
      order.push_back(key);
      const bool left = head.setup->admission && head.setup->admission->is_revoked(key);
      if (!left) restoring.nodes.insert(key);
    }
    head.cluster.orders.remember(placed.model, *asked, std::move(order));
  }
  if (!restoring.models.empty()) head.restoring = std::move(restoring);
}

void check_restoring(HeadState& head) {
  if (!head.restoring) return;
  const std::set<net::PublicKey>& nodes = head.restoring->nodes;
  const bool back = std::all_of(nodes.begin(), nodes.end(), [&](const net::PublicKey& key) {
    return head.cluster.members.is_alive(key);
  });
  if (!back && monotonic_us() < head.restoring->until_us) return;
  const Restoring restoring = std::move(*head.restoring);
  head.restoring.reset();
  for (const auto& [id, open] : restoring.models) {
    const std::string name = open.manifest.name;
    log(LogLevel::kInfo, "placing " + name + " again, as before this start");
    // The deployment gets an id of this run. Until then, the old id stays in the journal.
    open_model(head, open, head.own_key(), [&head, name, id = id](const ModelReady& ready) {
      erase_deployment(head, id);
      if (ready.outcome.is_ok()) return;
      log(LogLevel::kWarning, name + " is not placed again: " + ready.outcome.text);
    });
  }
  for (const auto& held : restoring.held) held();
}

}  // namespace troupe::actors::coordinator
