#pragma once

#include <functional>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include <troupe/tools/troupe/verbs.h>

// The verbs `status`, `nodes` and `ps`: each fetches the status of a cluster and shows a part of
// it.

namespace troupe::tools {

// A verb that shows a part of the status.
struct View {
  std::string footer;
  // What --json prints.
  std::function<nlohmann::json(const nlohmann::json& status)> json;
  // What people see.
  std::function<void(const nlohmann::json& status, bool verbose)> print;
  bool watchable = false;  // has --watch and --interval (watch.h)
};
// Adds the common options and --cluster. The action connects as open_cluster says (this process is
// not a cluster here), asks and shows.
Action add_view(CLI::App& app, View view);

}  // namespace troupe::tools
