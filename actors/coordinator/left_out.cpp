#include <troupe/actors/coordinator/left_out.h>

namespace troupe::actors::coordinator {

std::string left_out_text(const HeadState& head, const Deployment* deployment) {
  std::string text;
  const auto add = [&](const NodeRecord& node, const std::string& why) {
    text += (text.empty() ? "" : "; ") + ("node " + node.name) + " gets no layers: " + why;
  };
  for (const NodeRecord* node : head.cluster.members.all()) {
    if (!node->alive() || !node->works) continue;
    if (!node->unreachable.empty()) {
      add(*node, "the head cannot reach it (" + node->unreachable + ")");
    } else if (node->draining) {
      add(*node, "it is being drained; 'troupe drain " + node->name + " --undo' ends that");
    } else if (deployment != nullptr) {
      const auto found = deployment->cut_off.find(node->key);
      if (found != deployment->cut_off.end()) add(*node, found->second);
    }
  }
  return text;
}

}  // namespace troupe::actors::coordinator
