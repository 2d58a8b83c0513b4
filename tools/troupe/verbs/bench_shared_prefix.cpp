#include <algorithm>
#include <chrono>
#include <thread>

#include <troupe/model/local/bench.h>
#include <troupe/tools/troupe/verbs/bench_shared_prefix.h>

namespace troupe::tools {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::size_t kUsualContext = 4096;  // a placement makes room for this context anyway

struct Answer {
  Result<GenerateResult> result = Status(Code::kInternal, "not measured");
  double first_ms = 0;
};

// The figures of all requests at once.
struct Round {
  double tok_s = 0;
  std::uint64_t cached = 0;
  std::vector<std::vector<model::TokenId>> ids;
};

class PrefixBench {
 public:
  PrefixBench(Cluster& cluster, const SharedPrefixOptions& options)
      : cluster_(cluster), options_(options) {}

  // Sends the shared prefix, followed by the end with the number `end`. Only requests of one salt
  // share what they compute.
  Answer ask(std::size_t end, const std::string& salt, std::size_t tokens) const {
    GenerateRequest request;
    request.model = options_.model;
    request.layers = options_.layers;
    request.kv_type = options_.kv_type;
    request.f16_activations = options_.f16_activations;
    request.speculation = options_.speculation;
    request.no_replicas = true;
    request.ignore_end = true;
    request.cache_salt = salt;
    request.max_tokens = static_cast<int>(tokens);
    const std::size_t whole = options_.prefix + SharedPrefixBench::kEndTokens + options_.decode;
    if (whole > kUsualContext) request.context = whole;
    for (std::size_t i = 0; i < options_.prefix; ++i) {
      request.prompt_ids.push_back(model::bench_token(i, options_.vocabulary));
    }
    const std::size_t ends = options_.prefix + end * SharedPrefixBench::kEndTokens;
    for (std::size_t i = 0; i < SharedPrefixBench::kEndTokens; ++i) {
      request.prompt_ids.push_back(model::bench_token(ends + i, options_.vocabulary));
    }
    Answer answer;
    const auto began = Clock::now();
    answer.result = cluster_.generate(request, [&](const TokenEvent& token) {
      if (token.index == 0) answer.first_ms = seconds_since(began) * 1e3;
      return true;
    });
    if (answer.result && !answer.result->error.is_ok()) answer.result = answer.result->error;
    return answer;
  }

  Result<double> first_token_ms(std::size_t end, const std::string& salt) const {
    const Answer answer = ask(end, salt, 1);
    if (!answer.result) return answer.result.status();
    return answer.first_ms;
  }

  // Asks all at once. With `apart`, each request has a salt of its own.
  Result<Round> all_at_once(const std::string& salt, bool apart) const {
    std::vector<Answer> answers(options_.requests);
    std::vector<std::thread> askers;
    const auto began = Clock::now();
    for (std::size_t i = 0; i < answers.size(); ++i) {
      askers.emplace_back([&, i] {
        answers[i] = ask(i, apart ? salt + " " + std::to_string(i) : salt, options_.decode);
      });
    }
    for (std::thread& asker : askers) asker.join();
    const double took = seconds_since(began);
    Round round;
    std::size_t tokens = 0;
    for (const Answer& answer : answers) {
      if (!answer.result) return answer.result.status();
      tokens += answer.result->token_ids.size();
      round.cached += answer.result->cached_tokens;
      round.ids.push_back(answer.result->token_ids);
    }
    round.tok_s = static_cast<double>(tokens) / took;
    return round;
  }

 private:
  static double seconds_since(Clock::time_point began) {
    return std::chrono::duration<double>(Clock::now() - began).count();
  }
  Cluster& cluster_;
  const SharedPrefixOptions& options_;
};

}  // namespace

Result<SharedPrefixBench> bench_shared_prefix(Cluster& cluster,
                                              const SharedPrefixOptions& options) {
  const PrefixBench bench(cluster, options);
  const std::string name = "bench " + std::to_string(Clock::now().time_since_epoch().count()) + " ";
  TROUPE_RETURN_IF_ERROR(bench.first_token_ms(0, name + "warm-up").status());
  std::vector<double> cold_first, warm_first, apart_rates, cold_rates, warm_rates;
  SharedPrefixBench measured;
  for (std::size_t repeat = 0; repeat < options.repeats; ++repeat) {
    const std::string alone = name + std::to_string(repeat) + " alone";
    TROUPE_ASSIGN_OR_RETURN(const double cold_ms, bench.first_token_ms(0, alone));
    TROUPE_ASSIGN_OR_RETURN(const double warm_ms, bench.first_token_ms(1, alone));
    cold_first.push_back(cold_ms);
    warm_first.push_back(warm_ms);
    const std::string many = name + std::to_string(repeat) + " many";
    TROUPE_ASSIGN_OR_RETURN(const Round apart, bench.all_at_once(many, true));
    TROUPE_ASSIGN_OR_RETURN(const Round cold, bench.all_at_once(many, false));
    TROUPE_ASSIGN_OR_RETURN(const Round warm, bench.all_at_once(many, false));
    if (cold.ids != apart.ids || warm.ids != apart.ids) {
      return Status(Code::kInternal,
                    "an answer with a shared prefix differs from the answer without: please "
                    "report this, with the model and `troupe doctor --json`");
    }
    apart_rates.push_back(apart.tok_s);
    cold_rates.push_back(cold.tok_s);
    warm_rates.push_back(warm.tok_s);
    measured.cold_cached = cold.cached;
    measured.warm_cached = warm.cached;
  }
  measured.cold_first_ms = model::median(cold_first);
  measured.warm_first_ms = model::median(warm_first);
  measured.apart_tok_s = model::median(apart_rates);
  measured.cold_tok_s = model::median(cold_rates);
  measured.warm_tok_s = model::median(warm_rates);
  return measured;
}

}  // namespace troupe::tools
