#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <troupe/tools/troupe/connect.h>
#include <troupe/tools/troupe/options.h>
#include <troupe/tools/troupe/terminal/logging.h>
#include <troupe/tools/troupe/terminal/output.h>
#include <troupe/tools/troupe/terminal/time_text.h>
#include <troupe/tools/troupe/verbs.h>
#include <troupe/tools/troupe/views/to_json.h>

namespace troupe::tools {
namespace {

struct EventsOptions {
  CommonOptions common;
  std::string cluster;
};

Result<EventList> ask(const EventsOptions& options) {
  TROUPE_ASSIGN_OR_RETURN(Cluster cluster, connect_cluster(options.common.home, options.cluster));
  return cluster.events();
}

int events(const EventsOptions& options) {
  set_up_logging(LogLevel::kWarning, options.common.verbose);
  const Result<EventList> list = ask(options);
  if (!list) return fail(list.status(), options.common.json);
  if (options.common.json) {
    print_json(to_json(*list));
    return kExitOk;
  }
  std::vector<std::vector<std::string>> rows{{"TIME", "EVENT", "WHAT", "WHY"}};
  for (const ClusterEvent& event : list->events)
    rows.push_back({time_text(event.unix_ms), event.event, event.subject, event.text});
  print_table(rows);
  return kExitOk;
}

}  // namespace

Action add_events(CLI::App& app) {
  auto options = std::make_shared<EventsOptions>();
  add_cluster_option(app, options->cluster);
  add_common_options(app, options->common);
  app.footer(
      "Lists the last 200 events, oldest first: nodes that joined, left, were lost, cannot be\n"
      "reached or are drained, and models that were placed anew or wait for a node. The head\n"
      "keeps them in HOME/events.jsonl, even if it is restarted.\n"
      "\n"
      "Examples:\n"
      "  troupe events\n"
      "  troupe events --json    {\"events\":[{\"unix_ms\",\"event\",\"subject\",\"text\"}]}");
  return [options] { return events(*options); };
}

}  // namespace troupe::tools
