#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <troupe/model/config/layer_range.h>
#include <troupe/runtime/kernels/kv_page.h>

// What people who run a cluster ask it for, and its answers. Plain values.

namespace troupe {

// What `plan` asks.
struct PlanRequest {
  std::string model;               // as GenerateRequest has it
  std::size_t context = 0;         // positions to keep keys and values for; 0: as generate() counts
  std::vector<std::string> nodes;  // names; empty: all
  std::vector<model::LayerRange> layers;  // empty: the coordinator's choice
  std::optional<kernels::KvType> kv_type;
};

// What a new token lets in.
struct TokenOptions {
  bool nodes = true, clients = false;
  int uses = 1;
  std::int64_t lifetime_s = 24 * 3600;  // 0: for ever
};

}  // namespace troupe
