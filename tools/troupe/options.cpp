#include <troupe/tools/troupe/options.h>

namespace troupe::tools {

void add_common_options(CLI::App& app, CommonOptions& options) {
  app.add_option("--home", options.home,
                 "Where keys, store and journal lie [TROUPE_HOME, else ~/.troupe]")
      ->type_name("DIR");
  app.add_flag("--json", options.json, "Print one JSON object on stdout, at the end");
  app.add_flag(
      "-v,--verbose", options.verbose,
      "Say more on stderr; twice for more still (TROUPE_LOG=debug|info|warning|error|off)");
}

void add_cluster_option(CLI::App& app, std::string& cluster) {
  app.add_option("--cluster", cluster,
                 "HOST:PORT of a head of yours on this machine, TOKEN@HOST:PORT of one on another, "
                 "or none for this process [TROUPE_CLUSTER, else this home's daemon, else none]")
      ->type_name("ADDRESS");
}

}  // namespace troupe::tools
