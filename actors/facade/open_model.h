#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <troupe/actors/actors.h>
#include <troupe/actors/facade/cluster_impl.h>
#include <troupe/model/store/store.h>

// Describes the model that a request wants, and has the cluster load it.

namespace troupe::actors {

// Describes a model as the service wants it: its identity, and the manifest if the file is on this
// machine. Has `bulk` (null if no other process needs them) serve its parts. Reads the file's
// header, and may hash the file.
//   Errors: kInvalidArgument (no name), those of Store::resolve and Store::manifest.
Result<OpenModel> describe_model(model::Store& store, const std::string& model,
                                 const std::vector<model::LayerRange>& layers, std::uint8_t kv_code,
                                 const bulk_actor& bulk);
// Describes the model of a request, with what the request says about placing it.
Result<OpenPtr> describe_model(model::Store& store, const GenerateRequest& request,
                               const bulk_actor& bulk);

// Blocks until the model is loaded; it may have to be fetched first (ten minutes).
//   Errors: kUnavailable (no answer), those of the placement.
Result<ReadyPtr> open_model(Cluster::Impl& impl, const OpenPtr& open);

}  // namespace troupe::actors
