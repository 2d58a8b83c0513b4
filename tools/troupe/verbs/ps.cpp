#include <nlohmann/json.hpp>

#include <troupe/tools/troupe/views/add_view.h>
#include <troupe/tools/troupe/views/cluster_view.h>

namespace troupe::tools {

Action add_ps(CLI::App& app) {
  return add_view(app,
                  {.footer = "Examples:\n"
                             "  troupe ps\n"
                             "  troupe ps --json          {\"deployments\":[...]}",
                   .json =
                       [](const nlohmann::json& status) {
                         return nlohmann::json{{"deployments", list_of(status, "deployments")}};
                       },
                   .print = [](const nlohmann::json& status, bool) { print_deployments(status); }});
}

}  // namespace troupe::tools
