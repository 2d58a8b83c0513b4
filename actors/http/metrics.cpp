#include <charconv>

#include <troupe/actors/http/metrics.h>

namespace troupe::http {
namespace {

void append_number(double value, std::string* out) {
  char digits[32];
  const auto end = std::to_chars(digits, digits + sizeof digits, value);
  out->append(digits, end.ptr);
}

std::string bucket_labels(std::string_view labels, std::string_view bound) {
  std::string all(labels);
  add_label("le", bound, &all);
  return all;
}

}  // namespace

void add_label(std::string_view name, std::string_view value, std::string* labels) {
  if (!labels->empty()) *labels += ',';
  *labels += name;
  *labels += "=\"";
  for (const char c : value) {
    if (c == '\n') {
      *labels += "\\n";
      continue;
    }
    if (c == '"' || c == '\\') *labels += '\\';
    *labels += c;
  }
  *labels += '"';
}

void write_family(std::string_view name, std::string_view type, std::string_view help,
                  std::string* out) {
  out->append("# HELP ").append(name).append(" ").append(help).append("\n# TYPE ");
  out->append(name).append(" ").append(type).append("\n");
}

void write_sample(std::string_view name, std::string_view labels, double value, std::string* out) {
  out->append(name);
  if (!labels.empty()) out->append("{").append(labels).append("}");
  *out += ' ';
  append_number(value, out);
  *out += '\n';
}

void Histogram::add(double seconds) {
  std::size_t i = 0;
  while (i < kBounds.size() && seconds > kBounds[i]) ++i;
  ++counts_[i];
  sum_ += seconds;
}

void Histogram::write(std::string_view name, std::string_view labels, std::string* out) const {
  const std::string bucket = std::string(name) + "_bucket";
  std::uint64_t count = 0;
  for (std::size_t i = 0; i < kBounds.size(); ++i) {
    count += counts_[i];
    std::string bound;
    append_number(kBounds[i], &bound);
    write_sample(bucket, bucket_labels(labels, bound), static_cast<double>(count), out);
  }
  count += counts_.back();
  write_sample(bucket, bucket_labels(labels, "+Inf"), static_cast<double>(count), out);
  write_sample(std::string(name) + "_sum", labels, sum_, out);
  write_sample(std::string(name) + "_count", labels, static_cast<double>(count), out);
}

void Metrics::count_request(std::string_view route, std::string_view method, int status) {
  ++requests_[{std::string(route), std::string(method), status}];
}

void Metrics::write(std::string* out) const {
  write_family("troupe_http_requests_total", "counter", "HTTP requests that have ended", out);
  for (const auto& [key, count] : requests_) {
    std::string labels;
    add_label("route", std::get<0>(key), &labels);
    add_label("method", std::get<1>(key), &labels);
    add_label("status", std::to_string(std::get<2>(key)), &labels);
    write_sample("troupe_http_requests_total", labels, static_cast<double>(count), out);
  }
  const auto labels_of = [](const auto& key) {
    std::string labels;
    add_label("model", key.first, &labels);
    add_label("key", key.second, &labels);
    return labels;
  };
  write_family("troupe_answers_total", "counter", "Answers that have ended, by the reason", out);
  for (const auto& [key, counters] : answers_) {
    for (const auto& [reason, count] : counters.answers) {
      std::string labels = labels_of(key);
      add_label("finish_reason", reason, &labels);
      write_sample("troupe_answers_total", labels, static_cast<double>(count), out);
    }
  }
  const auto counter = [&](const char* name, const char* help, auto member) {
    write_family(name, "counter", help, out);
    for (const auto& [key, counters] : answers_) {
      write_sample(name, labels_of(key), static_cast<double>(counters.*member), out);
    }
  };
  counter("troupe_prompt_tokens_total", "Tokens of prompts", &AnswerCounters::prompt_tokens);
  counter("troupe_completion_tokens_total", "Tokens of answers",
          &AnswerCounters::completion_tokens);
  const auto histogram = [&](const char* name, const char* help, auto member) {
    write_family(name, "histogram", help, out);
    for (const auto& [key, counters] : answers_) {
      (counters.*member).write(name, labels_of(key), out);
    }
  };
  histogram("troupe_queue_seconds", "Until the first step with tokens of the prompt",
            &AnswerCounters::queue);
  histogram("troupe_prefill_seconds", "From the first step to the first token",
            &AnswerCounters::prefill);
  histogram("troupe_time_to_first_token_seconds", "From acceptance to the first token",
            &AnswerCounters::first_token);
  histogram("troupe_time_between_tokens_seconds", "Between two tokens of one answer",
            &AnswerCounters::between_tokens);
  histogram("troupe_decode_seconds", "From the first token to the last", &AnswerCounters::decode);
  histogram("troupe_answer_seconds", "From acceptance to the end", &AnswerCounters::whole);
}

}  // namespace troupe::http
