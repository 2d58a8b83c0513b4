#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include <troupe/actors/actors.h>
#include <troupe/actors/link.h>
#include <troupe/actors/node/trouble_watch.h>
#include <troupe/model/store/store.h>
#include <troupe/runtime/numerics/arithmetic_version.h>

// The arguments with which a node's actor starts.

namespace troupe::actors {

// Makes a stage from its parts: model::Stage::load, except in tests that compute nothing.
using StageLoader = std::function<Result<std::unique_ptr<model::Stage>>(
    const model::TensorSource& source, const model::ModelConfig& config, model::LayerRange range,
    Device& device, const model::StageOptions& options)>;

struct NodeSetup {
  std::filesystem::path home;
  std::string name;
  net::Endpoint advertise;  // the address that other nodes dial
  net::PublicKey head{};
  net::Endpoint head_endpoint;      // unused if the head is this process
  std::optional<net::Token> token;  // absent if the node is a member already
  bool member = false;  // a member of the token's cluster: enrol only if the head refuses us
  std::shared_ptr<Link> link;
  std::shared_ptr<model::Store> store;
  bulk_actor bulk;
  device_actor device;  // null if this process holds no layers
  StageLoader load = model::Stage::load;
  task_actor tasks;  // null if this program registers no kinds of jobs
  int threads = 0;
  std::string isa;  // of the device's kernels
  std::uint64_t memory_bytes = 0;
  std::string memory_pool;                        // sent as Hello::memory_pool
  std::uint32_t arithmetic = kArithmeticVersion;  // tests have others
  std::shared_ptr<std::atomic<std::uint64_t>> bulk_bytes_in;
  std::shared_ptr<const TroubleBoard>
      troubles;  // what was found on this machine; null: nobody checks it
  // When the actor last ran, for watchdogs; microseconds of the monotonic clock.
  std::shared_ptr<std::atomic<std::int64_t>> moved_us =
      std::make_shared<std::atomic<std::int64_t>>(0);
  // Called once, on a scheduler thread, with the name under which the node joined or the reason why
  // it did not.
  std::function<void(Result<std::string> name)> on_joined;
  // Called when the cluster ends this daemon; the Status is ok if the daemon was asked to stop.
  std::function<void(Status)> on_stop;
  // Called on the device's thread when its accelerator has failed for good, so that this process
  // must end. The node has said goodbye, so that its layers go elsewhere at once. Null: its steps
  // fail.
  std::function<void(Status)> on_broken;
};

}  // namespace troupe::actors
