#include <cstdio>

#include <nlohmann/json.hpp>

#include <troupe/tools/troupe/views/add_view.h>
#include <troupe/tools/troupe/views/cluster_view.h>
#include <troupe/tools/troupe/views/to_json.h>

namespace troupe::tools {
namespace {

void print_status(const ClusterStatus& status, bool verbose) {
  std::printf("cluster %s, answered by its %s\n\n", status.cluster.c_str(), status.role.c_str());
  print_nodes(status);
  std::printf("\n");
  print_deployments(status);
  if (verbose) {
    std::printf("\n");
    print_counters(status);
  }
}

}  // namespace

Action add_status(CLI::App& app) {
  return add_view(
      app, {.footer = "Examples:\n"
                      "  troupe status             nodes with their layers, and what is loaded\n"
                      "  troupe status --watch     the same, live, with tokens/s and the queue\n"
                      "  troupe status -v          with the counters of the wire\n"
                      "  troupe status --json      "
                      "{\"role\",\"cluster\",\"nodes\",\"deployments\",\"counters\"}",
            .json = [](const ClusterStatus& status) { return to_json(status); },
            .print = print_status,
            .watchable = true});
}

}  // namespace troupe::tools
