#include <nlohmann/json.hpp>

#include <troupe/tools/troupe/views/add_view.h>
#include <troupe/tools/troupe/views/cluster_view.h>
#include <troupe/tools/troupe/views/to_json.h>

namespace troupe::tools {

Action add_ps(CLI::App& app) {
  return add_view(app,
                  {.footer = "Examples:\n"
                             "  troupe ps\n"
                             "  troupe ps --json          {\"deployments\":[...]}",
                   .json =
                       [](const ClusterStatus& status) {
                         return nlohmann::json{{"deployments", to_json(status.deployments)}};
                       },
                   .print = [](const ClusterStatus& status, bool) { print_deployments(status); }});
}

}  // namespace troupe::tools
