#pragma once

#include <string>

#include <CLI/CLI.hpp>

// Options that several verbs share.

namespace troupe::tools {

struct CommonOptions {
  std::string home;  // "": TROUPE_HOME, else ~/.troupe
  bool json = false;
  int verbose = 0;  // how many -v
};
void add_common_options(CLI::App& app, CommonOptions& options);
void add_cluster_option(CLI::App& app, std::string& cluster);

}  // namespace troupe::tools
