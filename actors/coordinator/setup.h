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
#include <troupe/actors/engine/drafts.h>
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
  // The models that an earlier run of this head had placed, and the manifests that it knew, by
  // model.
  std::vector<PlacedModel> placed;
  std::map<std::string, model::Manifest> manifests;
  std::shared_ptr<Admission> admission;  // null in a process without sockets
  // Shared with the jobs' actor; null if this process has no clients.
  std::shared_ptr<Owners> owners;
  net::Endpoint advertise;
  std::filesystem::path events_file;  // where events are kept; empty: only in this process
  std::filesystem::path audit_file;   // the audit log; empty: there is none
  bool audit_also_logs = false;       // entries of the audit log also go into the log
  std::string role = "head";          // what `status` says: "head" or "local"
  // How long a model that nobody uses stays loaded; absent means forever.
  std::optional<std::int64_t> keep_alive_us;
  bool works = true;  // whether this process holds layers
  // Whether layers are measured before they are placed; if not, thread counts decide.
  bool measures = true;
  Speculation speculation = Speculation::kWhenItPays;  // of engines whose stages are CPUs
  std::function<void()> on_stop;  // called when a client asks this daemon to stop
  // For tests: called with the decider of each deployment's engine (EngineSetup::watch). May be
  // empty.
  std::function<void(const EngineState&)> watch_engine;
};

}  // namespace troupe::actors
