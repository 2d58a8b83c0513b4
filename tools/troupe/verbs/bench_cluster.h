#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <troupe/actors/troupe.h>
#include <troupe/model/local/bench.h>

// `troupe bench --cluster` makes the measurement of model/local/bench.h through a cluster's engine,
// as a client sees the tokens come.

namespace troupe::tools {

struct ClusterBench {
  model::BenchResult one;
  std::vector<model::BatchRate> batches;
  std::vector<StageReport> stages;
  std::string isa;                   // of the stages' nodes; if they differ, "avx2, avx512"
  std::uint64_t resident_bytes = 0;  // the most memory that these nodes had resident, in all
};

struct ClusterBenchOptions {
  std::string model;  // as in GenerateRequest
  std::vector<model::LayerRange> layers;
  std::optional<kernels::KvType> kv_type;
  bool f16_activations = false;
  bool speculation = false;  // draft the next tokens of the answers
  bool replicas = false;     // use replicas: each batch is then measured twice, first to make them
  std::size_t vocabulary = 0;
  std::size_t prompt = 512, decode = 64, repeats = 3;
  std::vector<std::size_t> batches;
};

// Runs a warm-up, then the repeats. The requests of a batch begin together; the time counts from
// the moment when each has its first token until the first of them ends.
//   Blocks. Errors: as Cluster::generate; kUnavailable if a stage's node leaves in the meantime.
Result<ClusterBench> bench_cluster(Cluster& cluster, const ClusterBenchOptions& options);

}  // namespace troupe::tools
