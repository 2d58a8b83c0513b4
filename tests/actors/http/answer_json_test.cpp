#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <troupe/actors/http/api_error.h>
#include <troupe/actors/http/json_text.h>
#include <troupe/actors/http/metrics.h>

using namespace troupe;
using namespace troupe::http;
using nlohmann::json;

TEST_CASE("http json: any bytes become a string that a reader takes, and text stays as it is") {
  std::string bytes;
  for (int i = 0; i < 256; ++i) bytes += static_cast<char>(i);
  const std::string good = "a\"\\\n\r\t\x01 \u00fc \u20ac \U0001F600\x7f";
  std::string out;
  append_json_string(bytes, &out);
  CHECK_NOTHROW(json::parse(out));
  out.clear();
  append_json_string(good, &out);
  CHECK(json::parse(out) == good);
  CHECK(out.find('\n') == std::string::npos);
  out.clear();
  append_json_string("\xF0\x9F", &out);
  CHECK(json::parse(out) == "\uFFFD");
}

TEST_CASE("http json: floats are read back as the same bits") {
  std::mt19937 random(5);
  for (int i = 0; i < 100'000; ++i) {
    const std::uint32_t bits = random();
    float value = 0;
    std::memcpy(&value, &bits, sizeof value);
    if (!std::isfinite(value)) continue;
    std::string out;
    append_json_float(value, &out);
    const float back = static_cast<float>(json::parse(out).get<double>());
    CHECK(std::memcmp(&back, &value, sizeof value) == 0);
  }
  std::string out;
  append_json_float(-std::numeric_limits<float>::infinity(), &out);
  CHECK(out == "null");
}

TEST_CASE("http json: an error waits as long as it says, and never less") {
  ApiError error = overloaded("full", 0.2);
  const Response response = error_response(error);
  CHECK(response.status == 503);
  CHECK(response.headers[0].value == "1");
  CHECK(response.headers[1].value == "200");
  CHECK(json::parse(response.body)["error"]["param"].is_null());
}

TEST_CASE("http metrics: buckets add up, and labels cannot break a line") {
  Metrics metrics;
  AnswerCounters& counters = metrics.answers("m\"\n\\", "k");
  counters.first_token.add(0.0005);
  counters.first_token.add(0.3);
  counters.first_token.add(1000);
  metrics.count_request("/v1/models", "GET", 200);
  std::string out;
  metrics.write(&out);
  CHECK(out.find("troupe_time_to_first_token_seconds_bucket{model=\"m\\\"\\n\\\\\",key=\"k\","
                 "le=\"0.5\"} 2\n") != std::string::npos);
  CHECK(out.find("le=\"+Inf\"} 3\n") != std::string::npos);
  CHECK(out.find("troupe_http_requests_total{route=\"/v1/models\",method=\"GET\",status=\"200\"} 1"
                 "\n") != std::string::npos);
}
