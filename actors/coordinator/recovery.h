#pragma once

#include <cstdint>
#include <string>

#include <troupe/actors/coordinator/head_state.h>

// Handles deployments that lost a stage, or that can use more nodes.

namespace troupe::actors::coordinator {

// Places a deployment again, under a new epoch, and with `grow` on all nodes; its requests wait and
// are replayed. `lost` says what was lost. `crashed` names the worker that died, or is empty. If no
// node can hold the layers for 10 s, the requests end with a sentence about what was lost.
void recover(HeadState& head, std::uint64_t id, const std::string& lost, const std::string& crashed,
             bool grow = false);
// Called when a node is gone: its deployments are placed again. `how` ends the sentence that says
// so; `died` is false if the node left by itself.
void lose_node(HeadState& head, const net::PublicKey& key, const char* how, bool died = true);
void on_stage_failed(HeadState& head, const net::PublicKey& node, const StageFailed& failed);
// Checks the deployments that wait for a node, and those whose first stage cannot be reached.
void check_lost(HeadState& head);

}  // namespace troupe::actors::coordinator
