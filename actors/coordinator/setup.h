#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <troupe/actors/actors.h>
#include <troupe/actors/cluster_state/owners.h>
#include <troupe/actors/coordinator/admission.h>
#include <troupe/actors/journal/journal.h>
#include <troupe/actors/link.h>
#include <troupe/model/store/store.h>
#include <troupe/runtime/net/keys.h>

// What a coordinator is given when it starts. Plain values and handles.

namespace troupe::actors {

class EngineState;

struct CoordinatorSetup {
  std::shared_ptr<Link> link;
  std::shared_ptr<model::Store> store;
  bulk_actor bulk;
  jobs_actor jobs;
  // Where deployments and streams are recorded; null in a process that is not a head.
  journal_actor journal;
  std::uint64_t first_epoch = 1;  // larger than any epoch of an earlier run
  // What an earlier run of this head had placed, and the manifests that it knew, by model.
  std::vector<PlacedModel> placed;
  std::map<std::string, model::Manifest> manifests;
  std::shared_ptr<Admission> admission;  // null in a process without sockets
  std::shared_ptr<Owners> owners;        // shared with the jobs' actor; null: nobody else asks
  net::Endpoint advertise;
  std::string role = "head";  // what `status` says: "head" or "local"
  // How long a model that nobody uses stays loaded; absent: forever.
  std::optional<std::int64_t> keep_alive_us;
  bool works = true;              // this process holds layers
  bool measures = true;           // before layers are placed; if false, threads decide
  std::function<void()> on_stop;  // a client asked this daemon to stop
  // Tests look at what each deployment's engine decides (EngineSetup::watch). May be empty.
  std::function<void(const EngineState&)> watch_engine;
};

}  // namespace troupe::actors
