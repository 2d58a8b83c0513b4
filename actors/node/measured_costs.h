#pragma once

#include <cstdint>
#include <filesystem>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include <troupe/actors/messages/measure.h>
#include <troupe/model/planning/layer_cost.h>

// What this node measured in the last minutes, kept in its home. Without the file, a head that was
// restarted would ask all nodes anew, and wait for the same figures before its first answer. A node
// that was restarted is still the same machine.

namespace troupe::actors::node {

// What the costs of a model's layers depend on.
struct MeasuredWhat {
  std::string place;  // the machine since it was started, the device, and this program
  std::string model;
  std::uint8_t kv = 0;
  std::uint32_t chunk_rows = 0;
  bool operator==(const MeasuredWhat&) const = default;
  template <class A>
  void serialize(A& a) {
    a(place, model, kv, chunk_rows);
  }
};

struct MeasuredCost {
  MeasuredWhat what;
  model::LayerCost cost;
  std::int64_t at_us = 0;  // of the monotonic clock, which all processes of a machine share
  template <class A>
  void serialize(A& a) {
    a(what, cost, at_us);
  }
};

// What the file holds.
struct MeasuredCostList {
  std::vector<MeasuredCost> costs;
  template <class A>
  void serialize(A& a) {
    a(costs);
  }
};

// Any thread.
class MeasuredCosts {
 public:
  static constexpr std::size_t kModelsMax = 64;

  // Reads the file. One that is missing or damaged holds nothing; an empty path keeps all in
  // memory.
  explicit MeasuredCosts(std::filesystem::path file);

  std::optional<model::LayerCost> find(const MeasuredWhat& what, std::int64_t now_us) const;
  // Replaces what is known about `what`, and forgets the oldest entries beyond kModelsMax. If the
  // file cannot be written, that is only logged, because it only makes the next start slower.
  void keep(const MeasuredWhat& what, const model::LayerCost& cost, std::int64_t now_us);

 private:
  std::filesystem::path file_;
  mutable std::mutex mutex_;
  MeasuredCostList list_;  // the newest last
};

}  // namespace troupe::actors::node
