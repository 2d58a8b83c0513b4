#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include <troupe/actors/messages/step.h>
#include <troupe/runtime/wire/codec.h>

#include "happened.h"
#include "world.h"

// Watches the frames between a simulated head and its nodes, checks what must hold of them, and
// remembers the frames that a node of an old epoch could repeat. Every epoch has one path of
// stages.

namespace troupe::actors::simulation {

class FrameWatch {
 public:
  // Takes the hooks of the world's network, and leaves them empty at its end. It must end before
  // the world. With `head_works`, the head itself may be a stage: its own steps go to it without a
  // frame, so that the steps of a path cannot be counted.
  FrameWatch(World& world, bool head_works, Happened& happened)
      : network_(world.network), head_works_(head_works), happened_(happened) {
    network_.on_sent = [this](net::SimHost from, net::SimHost to, const net::OutFrame& frame) {
      if (from == 0) on_sent_by_head(to, frame);
      const bool weights = frame.header.type == static_cast<std::uint16_t>(MessageType::kBlobChunk);
      if (weights && outsiders.contains(to)) complain("an outsider got weights");
    };
    network_.on_admitted = [this](net::SimHost from, net::SimHost to, const net::InFrame& frame) {
      if (to == 0 && !outsiders.contains(from)) on_admitted_by_head(frame);
    };
  }
  ~FrameWatch() {
    network_.on_sent = nullptr;
    network_.on_admitted = nullptr;
  }
  FrameWatch(const FrameWatch&) = delete;
  FrameWatch& operator=(const FrameWatch&) = delete;

  // Hosts whose frames are lies: they count for nothing, and get no weights.
  std::set<net::SimHost> outsiders;
  // Returns the epochs that are not over.
  std::vector<std::uint64_t> epochs_now() const {
    std::vector<std::uint64_t> now;
    for (const std::uint64_t epoch : epochs_) {
      if (!over_.contains(epoch)) now.push_back(epoch);
    }
    return now;
  }
  // Says what did not hold; empty if all held.
  const std::string& wrong() const { return wrong_; }
  // Returns an epoch that is over; none before the first placement.
  std::optional<std::uint64_t> old_epoch() const {
    if (epochs_.empty()) return std::nullopt;
    return over_.empty() ? *epochs_.begin() - 1 : *over_.rbegin();
  }
  std::size_t epochs() const { return epochs_.size(); }
  // These return the newest step with rows, and the highest id of any step.
  const Step& newest() const { return newest_; }
  std::uint64_t newest_id() const { return newest_id_; }

 private:
  struct Path {
    std::size_t stages = 0;
    std::uint64_t sent = 0, back = 0;  // steps
  };

  void complain(const std::string& what) {
    if (wrong_.empty()) wrong_ = what;
  }
  void on_sent_by_head(net::SimHost to, const net::OutFrame& frame) {
    const std::uint64_t epoch = frame.header.epoch;
    switch (static_cast<MessageType>(frame.header.type)) {
      case MessageType::kLoadStage:
        if (network_.is_walled_in(to)) {
          complain("h" + std::to_string(to) + " gets layers, though nobody can dial it");
        }
        epochs_.insert(epoch);
        ++paths_[epoch].stages;
        return;
      case MessageType::kUnloadStage:
        over_.insert(epoch);
        return;
      case MessageType::kStep:
        if (!head_works_) on_step(frame);
        return;
      default:
        return;
    }
  }
  void on_step(const net::OutFrame& frame) {
    Path& path = paths_[frame.header.epoch];
    const std::uint64_t under_way = ++path.sent - path.back;
    if (under_way > path.stages + 1) {
      complain(std::to_string(under_way) + " steps are under way on a path of " +
               std::to_string(path.stages) + " stages");
    }
    happened_.credits_met += under_way == path.stages + 1;
    if (const auto step = wire::decode<Step>(std::span<const std::byte>(frame.body))) {
      if (!step->segments.empty()) newest_ = *step;
      for (const StepSegment& segment : step->segments) {
        if (segment.begins) happened_.replays += !begun_.insert(segment.request).second;
      }
    }
    newest_id_ = std::max(newest_id_, frame.header.step);
  }
  void on_admitted_by_head(const net::InFrame& frame) {
    const auto type = static_cast<MessageType>(frame.header.type);
    if (type != MessageType::kStepDone && type != MessageType::kStepFailed) return;
    const auto path = paths_.find(frame.header.epoch);
    // A frame that is forged under an epoch that is over changes nothing.
    if (path != paths_.end()) ++path->second.back;
  }

  net::SimNetwork& network_;
  const bool head_works_;
  Happened& happened_;
  std::map<std::uint64_t, Path> paths_;  // by epoch
  std::set<std::uint64_t> epochs_;
  std::set<std::uint64_t> over_;  // epochs that the head has told nodes to let go
  Step newest_;
  std::uint64_t newest_id_ = 0;
  std::set<std::uint64_t> begun_;  // requests of which a sequence began
  std::string wrong_;
};

}  // namespace troupe::actors::simulation
