#include <algorithm>

#include <troupe/actors/cluster_state/replacement.h>
#include <troupe/actors/coordinator/copies.h>
#include <troupe/actors/coordinator/deploy.h>
#include <troupe/actors/coordinator/peers.h>
#include <troupe/runtime/clock.h>

namespace troupe::actors::coordinator {
namespace {

// The time that the nodes get to let each other in.
constexpr std::int64_t kCopiesAllowUs = 500'000;
// The pause after a failure (a source was gone, a disk was full). It doubles with each further
// failure, up to ten minutes.
constexpr std::int64_t kCopiesAgainUs = 5'000'000;
constexpr unsigned kCopiesDoublings = 7;

void begin_prefetching(HeadState& head, const Deployment& deployment) {
  for (const auto& [node, layers] : wanted_copies(head.cluster, deployment.id)) {
    Prefetch prefetch;
    prefetch.manifest = deployment.manifest;
    prefetch.layer_begin = static_cast<std::uint32_t>(layers.begin);
    prefetch.layer_end = static_cast<std::uint32_t>(layers.end);
    prefetch.sources = sources_of(head, deployment, layers, node);
    send(head, node, MessageType::kPrefetch, prefetch);
  }
}

}  // namespace

void check_copies(HeadState& head) {
  const std::int64_t now = monotonic_us();
  for (auto& [id, run] : head.runs) {
    if (!run.copies) continue;
    const Deployment* deployment = head.cluster.deployments.find_id(id);
    CopiesDue& due = *run.copies;
    if (deployment == nullptr || deployment->epoch != due.epoch) {
      run.copies.reset();
      continue;
    }
    if (due.asked || now < due.at_us) continue;
    if (due.allowed) {
      begin_prefetching(head, *deployment);
      due.asked = true;
    } else {
      // Nodes that joined after the deployment was placed fetch copies, too: they must be let in
      // first.
      due.allowed = true;  // set before the orders are made, which say who may fetch the copies
      begin_allowing(head, *deployment);
      due.at_us = now + kCopiesAllowUs;
    }
  }
}

void copy_again(HeadState& head, const std::string& model) {
  for (auto& [id, run] : head.runs) {
    const Deployment* deployment = head.cluster.deployments.find_id(id);
    // If several nodes fail in one round, only the first failure counts, since all are asked again.
    if (!run.copies || !run.copies->asked) continue;
    if (deployment == nullptr || deployment->manifest.model != model) continue;
    CopiesDue& due = *run.copies;
    due.at_us = monotonic_us() + (kCopiesAgainUs << std::min(due.failures, kCopiesDoublings));
    due.asked = false;
    due.allowed = false;
    due.failures += 1;
  }
}

}  // namespace troupe::actors::coordinator
