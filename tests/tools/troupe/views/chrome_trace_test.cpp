#include <cmath>
#include <map>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <troupe/tools/troupe/views/chrome_trace.h>

using namespace troupe;
using nlohmann::json;

namespace {

AnswerTrace example() {
  AnswerTrace trace;
  trace.request = 17;
  trace.open_us = 1000;
  trace.engine_us = 5000;
  trace.total_us = 6400;
  // Two chunks of a prompt are under way at once; then come one position, and one that was lost.
  trace.steps.push_back({0, 128, 100, 1600, false, {{"a 0-9", 50, 450}, {"b 10-19", 10, 390}}});
  trace.steps.push_back({128, 40, 110, 2210, false, {{"a 0-9", 500, 300}, {"b 10-19", 0, 400}}});
  trace.steps.push_back({168, 1, 2300, 3000, false, {{"a 0-9", 0, 200}, {"b 10-19", 0, 200}}});
  trace.steps.push_back({169, 1, 3100, 4000, true, {}});
  return trace;
}

struct Event {
  std::string group, row, name;
  double begin = 0, end = 0;
};

// Returns every event with the names of its rows. Fails if events of a row overlap without nesting.
std::vector<Event> events_of(const json& trace) {
  std::map<int, std::string> groups;
  std::map<std::pair<int, int>, std::string> rows;
  for (const json& event : trace["traceEvents"]) {
    if (event["ph"] != "M") continue;
    if (event["name"] == "process_name") groups[event["pid"]] = event["args"]["name"];
    if (event["name"] == "thread_name") {
      rows[{event["pid"], event["tid"]}] = event["args"]["name"];
    }
  }
  std::vector<Event> events;
  for (const json& event : trace["traceEvents"]) {
    if (event["ph"] != "X") continue;
    const double at = event["ts"], took = event["dur"];
    CHECK(took >= 0);
    events.push_back({groups.at(event["pid"]), rows.at({event["pid"], event["tid"]}), event["name"],
                      at, at + took});
  }
  for (const Event& a : events) {
    for (const Event& b : events) {
      if (a.group != b.group || a.row != b.row || a.begin > b.begin) continue;
      INFO(a.group << " " << a.row << " " << a.name << " and " << b.name);
      const bool within = b.end <= a.end + 0.6 || (a.begin == b.begin && a.end <= b.end);
      CHECK((b.begin >= a.end - 0.6 || within));
    }
  }
  return events;
}

}  // namespace

TEST_CASE("chrome trace: rows nest, and each step's parts are its whole") {
  const auto events = events_of(json::parse(tools::chrome_trace(example(), "troupe run m")));
  std::map<std::string, std::map<std::string, double>> sums;  // step -> part -> time
  for (const Event& event : events) {
    const std::string part = event.row.substr(0, event.row.find(' '));
    if (event.group != "request" || part == "wire")
      sums[event.name][part] += event.end - event.begin;
  }
  CHECK(sums["positions 0-127"]["queue"] == 60);
  CHECK(sums["positions 0-127"]["compute"] == 840);
  CHECK(sums["positions 0-127"]["wire"] == Approx(600));
  CHECK(sums["positions 128-167"]["wire"] == Approx(2100 - 1200));
  CHECK(sums["position 168"]["wire"] == Approx(300));
  CHECK(sums.count("position 169") == 0);  // lost: its time belongs to no stage
  for (const char* stage : {"stage a 0-9", "stage b 10-19"}) {
    for (const char* row : {"wire", "queue", "compute"}) {
      INFO(stage << " " << row);
      CHECK(std::any_of(events.begin(), events.end(), [&](const Event& event) {
        return event.group == stage && event.row == row;
      }));
    }
  }
  // The request's own row covers the whole call without a gap.
  double covered = 0;
  for (const Event& event : events) {
    if (event.group != "request" || event.row != "answer") continue;
    if (event.name == "troupe run m") {
      CHECK(event.begin == 0);
      CHECK(event.end == 6400);
    } else {
      covered += event.end - event.begin;
    }
  }
  CHECK(covered == Approx(6400));
}

TEST_CASE("chrome trace: stages whose clocks run fast do not outgrow their step") {
  AnswerTrace trace = example();
  trace.steps.resize(1);
  trace.steps[0].stages[0].compute_us = 9000;
  for (const Event& event : events_of(json::parse(tools::chrome_trace(trace, "t")))) {
    CHECK(event.end <= 6400.6);
  }
}

TEST_CASE("chrome trace: a request that had no step") {
  AnswerTrace trace;
  trace.request = 1;
  trace.total_us = trace.open_us = 10;
  CHECK(events_of(json::parse(tools::chrome_trace(trace, "t"))).size() == 4);
}
