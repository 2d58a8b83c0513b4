#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

#include <troupe/actors/cluster_state/cluster_state.h>
#include <troupe/actors/cluster_state/placement.h>

// Nodes, models and layouts for the tests of ClusterState.

namespace troupe::actors::test {

inline net::PublicKey key(std::uint8_t n) {
  net::PublicKey out{};
  out[0] = n;
  return out;
}

inline Hello hello(const std::string& name, std::uint32_t threads = 1) {
  Hello out;
  out.name = name;
  out.host = "127.0.0.1";
  out.port = 7700;
  out.threads = threads;
  return out;
}

// Returns a node that offers this much memory.
inline Hello hello_with(const char* name, std::uint64_t mib) {
  Hello out = hello(name);
  out.memory_bytes = mib << 20;
  return out;
}

inline DeploymentSpec spec(std::size_t layers, std::vector<model::LayerRange> ranges = {},
                           const model::MemoryNeed& need = {}, std::size_t channels = 0,
                           std::vector<net::PublicKey> sources = {}) {
  DeploymentSpec out;
  out.manifest.model = "m";
  out.manifest.name = "model";
  out.layers = layers;
  out.asked = std::move(ranges);
  out.need = need;
  out.channels = channels;
  out.sources = std::move(sources);
  return out;
}

// Makes the need of this many layers of 1 MiB each.
inline model::MemoryNeed layers_of_a_mib(std::size_t layers) {
  model::MemoryNeed need;
  need.layers.assign(layers, 1 << 20);
  return need;
}

inline model::LayerCost cost_of(double row_us) {
  model::LayerCost cost;
  cost.many.row_us = row_us;
  cost.many.rows_us = 1.4 * row_us;
  cost.prompt_row_us = row_us / 6;
  cost.host_cpus = 8;  // all nodes of these tests have the same host
  return cost;
}

// Returns which node has which layers: "a:0-9 b:10-29".
inline std::string layout(ClusterState& state, std::uint64_t id) {
  std::string text;
  for (const StageName& stage : state.stage_names(state.deployments.at(id))) {
    text += (text.empty() ? "" : " ") + stage.node + ":" + stage.layers;
  }
  return text;
}

inline ClusterState three_nodes() {
  ClusterState state(100);
  REQUIRE(state.join(key(1), hello("a"), true, 1, 0));
  REQUIRE(state.join(key(2), hello("b"), true, 2, 0));
  REQUIRE(state.join(key(3), hello("c"), true, 3, 0));
  return state;
}

}  // namespace troupe::actors::test
