#include <nlohmann/json.hpp>

#include <troupe/tools/troupe/views/add_view.h>
#include <troupe/tools/troupe/views/cluster_view.h>
#include <troupe/tools/troupe/views/to_json.h>

namespace troupe::tools {

Action add_nodes(CLI::App& app) {
  return add_view(app, {.footer = "Examples:\n"
                                  "  troupe nodes --cluster 127.0.0.1:7700\n"
                                  "  troupe nodes --json       "
                                  "{\"nodes\":[{\"name\",\"address\",\"state\",\"layers\",...}]}",
                        .json =
                            [](const ClusterStatus& status) {
                              return nlohmann::json{{"nodes", to_json(status.nodes)}};
                            },
                        .print = [](const ClusterStatus& status, bool) { print_nodes(status); }});
}

}  // namespace troupe::tools
