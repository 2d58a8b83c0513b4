#include <algorithm>
#include <atomic>
#include <chrono>
#include <optional>
#include <set>
#include <thread>

#include <troupe/tools/troupe/verbs/bench_cluster.h>

namespace troupe::tools {
namespace {

using Clock = std::chrono::steady_clock;

// One answer, and the times at which its tokens came.
struct Stream {
  std::vector<Clock::time_point> times;
  Result<GenerateResult> result = Status(Code::kInternal, "not measured");
};

double seconds(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

class Bench {
 public:
  Bench(Cluster& cluster, const ClusterBenchOptions& options)
      : cluster_(cluster), options_(options) {}

  // Asks for an answer with `prompt` tokens in and `tokens` out.
  Stream ask(std::size_t prompt, std::size_t tokens, std::size_t salt = 0) {
    GenerateRequest request;
    request.model = options_.model;
    request.layers = options_.layers;
    request.kv_type = options_.kv_type;
    request.f16_activations = options_.f16_activations;
    request.no_replicas = !options_.replicas;
    request.speculation = options_.speculation;
    request.ignore_end = true;
    // Every prompt is computed, even if the cluster has computed it before.
    request.cache_salt = "bench " + std::to_string(began_) + " " + std::to_string(++asked_);
    request.max_tokens = static_cast<int>(tokens);
    for (std::size_t i = 0; i < prompt; ++i)
      request.prompt_ids.push_back(model::bench_token(i + salt, options_.vocabulary));
    Stream stream;
    stream.times.reserve(tokens);
    stream.result = cluster_.generate(request, [&](const TokenEvent&) {
      stream.times.push_back(Clock::now());
      return true;
    });
    if (stream.result && !stream.result->error.is_ok()) stream.result = stream.result->error;
    return stream;
  }

  Result<model::BenchResult> one(std::vector<StageReport>* stages) {
    std::vector<double> prompts, decodes;
    for (std::size_t repeat = 0; repeat < options_.repeats; ++repeat) {
      const Stream prompt = ask(options_.prompt, 1);
      if (!prompt.result) return prompt.result.status();
      prompts.push_back(prompt.result->prompt_tok_s);
      const Stream decode = ask(1, options_.decode + 1);
      if (!decode.result) return decode.result.status();
      decodes.push_back(static_cast<double>(options_.decode) /
                        seconds(decode.times.front(), decode.times.back()));
      *stages = decode.result->nodes;
    }
    model::BenchResult result;
    result.prompt_tok_s_median = model::median(prompts);
    result.prompt_tok_s_best = *std::max_element(prompts.begin(), prompts.end());
    result.decode_tok_s_median = model::median(decodes);
    result.decode_tok_s_best = *std::max_element(decodes.begin(), decodes.end());
    return result;
  }

  Result<double> batch(std::size_t size) {
    std::vector<Stream> streams(size);
    std::vector<std::thread> askers;
    for (std::size_t i = 0; i < size; ++i)
      askers.emplace_back(
          [&, i] { streams[i] = ask(model::kBatchWarmUp, options_.decode + 1, i); });
    for (std::thread& asker : askers) asker.join();
    Clock::time_point begin = Clock::time_point::min(), end = Clock::time_point::max();
    for (const Stream& stream : streams) {
      if (!stream.result) return stream.result.status();
      begin = std::max(begin, stream.times.front());
      end = std::min(end, stream.times.back());
    }
    std::size_t tokens = 0;
    for (const Stream& stream : streams)
      for (const Clock::time_point time : stream.times) tokens += time > begin && time <= end;
    if (end <= begin)
      return Status(Code::kInvalidArgument,
                    "--decode " + std::to_string(options_.decode) +
                        " is too short: an answer ended before the last of " +
                        std::to_string(size) + " had begun");
    return static_cast<double>(tokens) / seconds(begin, end);
  }

 private:
  Cluster& cluster_;
  const ClusterBenchOptions& options_;
  const std::int64_t began_ = Clock::now().time_since_epoch().count();
  std::atomic<std::uint64_t> asked_{0};
};

// Adds what the status says about the nodes that hold the stages.
Status describe_nodes(Cluster& cluster, ClusterBench* bench) {
  TROUPE_ASSIGN_OR_RETURN(const ClusterStatus status, cluster.status());
  std::set<std::string> isas;
  std::size_t found = 0;
  for (const NodeStatus& node : status.nodes) {
    if (node.state != "ready" ||
        std::none_of(bench->stages.begin(), bench->stages.end(),
                     [&](const StageReport& stage) { return stage.node == node.name; }))
      continue;
    ++found;
    isas.insert(node.isa);
    bench->resident_bytes += node.resident_bytes_max;
  }
  if (found != bench->stages.size())
    return Status(Code::kUnavailable,
                  "a node left the cluster while it was measured; measure again");
  for (const std::string& isa : isas) bench->isa += (bench->isa.empty() ? "" : ", ") + isa;
  return Status::ok();
}

// Returns the number of replicas; nothing if one is being loaded.
Result<std::optional<std::size_t>> replicas_ready(Cluster& cluster) {
  TROUPE_ASSIGN_OR_RETURN(const ClusterStatus status, cluster.status());
  for (const DeploymentStatus& one : status.deployments) {
    if (one.state != "ready") return std::optional<std::size_t>();
  }
  return std::optional<std::size_t>(status.deployments.size());
}

// Asks for `size` answers at once until the cluster makes no more replicas for them.
Status raise_replicas(Cluster& cluster, Bench& bench, std::size_t size) {
  constexpr auto kPatience = std::chrono::minutes(5);
  const auto began = Clock::now();
  for (std::size_t known = 0;;) {
    TROUPE_RETURN_IF_ERROR(bench.batch(size).status());
    for (;;) {
      TROUPE_ASSIGN_OR_RETURN(const auto ready, replicas_ready(cluster));
      if (ready && *ready == known) return Status::ok();
      if (ready) {
        known = *ready;
        break;
      }
      if (Clock::now() - began > kPatience) {
        return Status(Code::kDeadlineExceeded, "a replica was still not loaded after 5 minutes");
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
  }
}

}  // namespace

Result<ClusterBench> bench_cluster(Cluster& cluster, const ClusterBenchOptions& options) {
  Bench bench(cluster, options);
  const Stream warm_up = bench.ask(std::min<std::size_t>(32, options.prompt), 4);
  if (!warm_up.result) return warm_up.result.status();
  ClusterBench measured;
  TROUPE_ASSIGN_OR_RETURN(measured.one, bench.one(&measured.stages));
  for (const std::size_t size : options.batches) {
    if (options.replicas && size > 1) TROUPE_RETURN_IF_ERROR(raise_replicas(cluster, bench, size));
    std::vector<double> rates;
    for (std::size_t repeat = 0; repeat < options.repeats; ++repeat) {
      TROUPE_ASSIGN_OR_RETURN(const double rate, bench.batch(size));
      rates.push_back(rate);
    }
    measured.batches.push_back({size, model::median(rates)});
  }
  TROUPE_RETURN_IF_ERROR(describe_nodes(cluster, &measured));
  return measured;
}

}  // namespace troupe::tools
