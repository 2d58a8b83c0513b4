#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include <troupe/actors/coordinator/head_state.h>
#include <troupe/model/config/model_config.h>

// Asks the nodes what a model's layers would cost them and what the connections between them carry,
// and continues when all have answered, or when the time is over.

namespace troupe::actors::coordinator {

// Asks every node, unless all have answered recently. Returns false if there is nothing to wait
// for. `then` is called once, when all have answered or `patience_us` has passed. With `alone`, a
// single worker is measured, too.
bool measure_first(HeadState& head, const OpenModel& open, const model::ModelConfig& config,
                   std::int64_t patience_us, bool alone, std::function<void()> then);
// Takes a node's answer. Returns false if no measurement has that number.
bool on_measuring_allowed(HeadState& head, const net::PublicKey& node, std::uint64_t number);
void on_measured(HeadState& head, const net::PublicKey& node, const Measured& measured);
// Returns the awaited nodes that were told of a measurement but have joined anew since: a daemon
// that was started again, or lost its connection, knows nothing of it. Pure.
std::vector<net::PublicKey> joined_anew(const Measurement& measurement, const Members& members);
// Tells nodes that have joined anew once more. Continues with the measurements whose time is over,
// or whose nodes are gone.
void check_measurements(HeadState& head);

}  // namespace troupe::actors::coordinator
