#pragma once

#include <functional>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include <troupe/actors/troupe/admin.h>
#include <troupe/tools/troupe/verbs.h>

// Verbs that fetch the status of a cluster and show a part of it: `status`, `nodes` and `ps`.

namespace troupe::tools {

struct View {
  std::string footer;
  // prints the object for --json
  std::function<nlohmann::json(const ClusterStatus& status)> json;
  // prints the text for people
  std::function<void(const ClusterStatus& status, bool verbose)> print;
  bool watchable = false;  // adds --watch and --interval (watch.h)
};
// Adds the common options and --cluster. The action connects as connect_cluster does, asks for the
// status, and shows it.
Action add_view(CLI::App& app, View view);

}  // namespace troupe::tools
