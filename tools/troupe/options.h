#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <CLI/CLI.hpp>

#include <troupe/runtime/kernels/kernels.h>

// Options that several verbs share.

namespace troupe::tools {

struct CommonOptions {
  std::string home;  // if "", TROUPE_HOME, else ~/.troupe
  bool json = false;
  int verbose = 0;  // how often -v was given
};
// Reads a whole number: digits alone (so not "1e3"), and no more than 64 bits hold.
std::optional<std::uint64_t> read_whole_number(std::string_view text);
// Returns a check for options: such a number from `least` to `most`.
CLI::Validator whole_number(std::uint64_t least, std::uint64_t most);

void add_common_options(CLI::App& app, CommonOptions& options);
void add_model_argument(CLI::App& app, std::string& model);
void add_kv_option(CLI::App& app, std::optional<kernels::KvType>& kv_type);
void add_activations_option(CLI::App& app, bool& f16);
void add_device_option(CLI::App& app, std::string& device);
void add_cluster_option(CLI::App& app, std::string& cluster);

}  // namespace troupe::tools
