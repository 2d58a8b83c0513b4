#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <troupe/actors/troupe.h>

// `troupe bench --shared-prefix`: what requests gain if their prompts begin alike, as the client
// sees it through an engine.

namespace troupe::tools {

struct SharedPrefixOptions {
  std::string model;  // as in GenerateRequest
  std::vector<model::LayerRange> layers;
  std::optional<kernels::KvType> kv_type;
  bool f16_activations = false, speculation = false;
  std::size_t vocabulary = 0;
  std::size_t requests = 16;  // at once
  std::size_t prefix = 0;     // tokens that all prompts begin with
  std::size_t decode = 64;    // tokens of each answer
  std::size_t repeats = 3;
};

struct SharedPrefixBench {
  static constexpr std::size_t kEndTokens = 16;  // of each prompt, after the prefix
  // These are medians. For a request that is alone, the time to its first token. For all requests
  // at once, the tokens of their answers, divided by the time until the last one ended.
  //   cold: nothing has been computed before. warm: the prefix has been computed before.
  //   apart: nothing has been computed before, and no request may use what another one computes.
  double cold_first_ms = 0, warm_first_ms = 0;
  double apart_tok_s = 0, cold_tok_s = 0, warm_tok_s = 0;
  // The tokens of all prompts that did not have to be computed again: what `usage` reports.
  std::uint64_t cold_cached = 0, warm_cached = 0;
};

// Runs a warm-up, then the repeats. Nobody shares anything with what ran before.
//   Blocks. Errors: as Cluster::generate; kInternal if an answer with a shared prefix is not the
// answer without.
Result<SharedPrefixBench> bench_shared_prefix(Cluster& cluster, const SharedPrefixOptions& options);

}  // namespace troupe::tools
