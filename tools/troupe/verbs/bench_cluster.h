#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <troupe/actors/troupe.h>
#include <troupe/model/local/bench.h>

// `troupe bench --cluster`: the measurement of model/local/bench.h through a cluster's engine, as a
// client of it sees the tokens come.

namespace troupe::tools {

struct ClusterBench {
  model::BenchResult one;
  std::vector<model::BatchRate> batches;
  std::vector<StageReport> stages;
  std::string isa;                   // of the stages' nodes; several: "avx2, avx512"
  std::uint64_t resident_bytes = 0;  // the most memory that these nodes had resident, in all
};

struct ClusterBenchOptions {
  std::string model;  // as GenerateRequest has it
  std::vector<model::LayerRange> layers;
  std::optional<kernels::KvType> kv_type;
  bool f16_activations = false;
  bool replicas = false;  // let them take part; batches are then measured twice, first to make them
  std::size_t vocabulary = 0;
  std::size_t prompt = 512, decode = 64, repeats = 3;
  std::vector<std::size_t> batches;
};

// A warm-up, then the repeats. A batch's requests begin as one; what counts is from the moment when
// each has its first token to the first end of one.
//   Blocks. Errors: as Cluster::generate; kUnavailable when a stage's node leaves meanwhile.
Result<ClusterBench> bench_cluster(Cluster& cluster, const ClusterBenchOptions& options);

}  // namespace troupe::tools
