#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

// Counters and histograms of the server, written in Prometheus's text form. Lives on the HTTP
// thread. Names of models and keys come from the operator, never from a request.

namespace troupe::http {

class Histogram {
 public:
  void add(double seconds);
  // Writes lines of NAME_bucket, NAME_sum and NAME_count; `labels` is "a=\"b\"" or "".
  void write(std::string_view name, std::string_view labels, std::string* out) const;

 private:
  static constexpr std::array kBounds = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,  0.25,
                                         0.5,   1.0,    2.5,   5.0,  10.0,  25.0, 50.0, 100.0};
  std::array<std::uint64_t, kBounds.size() + 1> counts_{};
  double sum_ = 0;
};

// What is counted for each model and key.
struct AnswerCounters {
  std::map<std::string, std::uint64_t> answers;  // by finish reason
  std::uint64_t prompt_tokens = 0, completion_tokens = 0;
  Histogram queue, prefill, first_token, between_tokens, decode, whole;
};

class Metrics {
 public:
  void count_request(std::string_view route, std::string_view method, int status);
  AnswerCounters& answers(const std::string& model, const std::string& key) {
    return answers_[{model, key}];
  }
  void write(std::string* out) const;

 private:
  std::map<std::tuple<std::string, std::string, int>, std::uint64_t> requests_;
  std::map<std::pair<std::string, std::string>, AnswerCounters> answers_;
};

// Writes "# HELP" and "# TYPE" of a family.
void write_family(std::string_view name, std::string_view type, std::string_view help,
                  std::string* out);
// NAME{labels} value
void write_sample(std::string_view name, std::string_view labels, double value, std::string* out);
// Escapes a label's value, and appends NAME="VALUE" with a comma before it where one is needed.
void add_label(std::string_view name, std::string_view value, std::string* labels);

}  // namespace troupe::http
