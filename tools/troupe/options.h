#pragma once

#include <optional>
#include <string>

#include <CLI/CLI.hpp>

#include <troupe/runtime/kernels/kernels.h>

// Options that several verbs share.

namespace troupe::tools {

struct CommonOptions {
  std::string home;  // "": TROUPE_HOME, else ~/.troupe
  bool json = false;
  int verbose = 0;  // how many -v
};
void add_common_options(CLI::App& app, CommonOptions& options);
void add_model_argument(CLI::App& app, std::string& model);
void add_kv_option(CLI::App& app, std::optional<kernels::KvType>& kv_type);
void add_cluster_option(CLI::App& app, std::string& cluster);

}  // namespace troupe::tools
