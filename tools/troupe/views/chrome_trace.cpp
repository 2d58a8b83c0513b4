#include <algorithm>
#include <cmath>
#include <map>
#include <vector>

#include <nlohmann/json.hpp>

#include <troupe/tools/troupe/views/chrome_trace.h>

namespace troupe::tools {
namespace {

using nlohmann::json;

// Events that overlap get lanes of their own: events in one row must be separate or nested.
class Rows {
 public:
  // Makes the group on its first use; groups are shown in this order.
  void add(const std::string& group, const std::string& row, const std::string& name, double at_us,
           double took_us, json args = json::object()) {
    Group& in = group_of(group);
    std::vector<double>& lanes = in.lanes[row];
    auto lane = std::find_if(lanes.begin(), lanes.end(),
                             [&](double until) { return until <= at_us + 0.5; });
    if (lane == lanes.end()) lane = lanes.insert(lanes.end(), 0.0);
    *lane = at_us + took_us;
    const auto number = static_cast<std::size_t>(lane - lanes.begin());
    const std::string label = row + (number == 0 ? "" : " " + std::to_string(number + 1));
    put(in, label, name, at_us, took_us, std::move(args));
  }
  // Adds an event without a lane: the caller nests it.
  void nest(const std::string& group, const std::string& row, const std::string& name, double at_us,
            double took_us, json args = json::object()) {
    put(group_of(group), row, name, at_us, took_us, std::move(args));
  }
  json take() { return std::move(events_); }

 private:
  struct Group {
    int pid = 0;
    // For each row, the times at which its lanes are free.
    std::map<std::string, std::vector<double>> lanes;
    std::map<std::string, int> rows;  // the tid for each lane's label
  };
  Group& group_of(const std::string& name) {
    Group& group = groups_[name];
    if (group.pid == 0) {
      group.pid = static_cast<int>(groups_.size());
      meta("process_name", group.pid, 0, {{"name", name}});
      meta("process_sort_index", group.pid, 0, {{"sort_index", group.pid}});
    }
    return group;
  }
  void put(Group& group, const std::string& label, const std::string& name, double at_us,
           double took_us, json args) {
    int& tid = group.rows[label];
    if (tid == 0) {
      tid = static_cast<int>(group.rows.size());
      meta("thread_name", group.pid, tid, {{"name", label}});
    }
    events_.push_back({{"ph", "X"},
                       {"pid", group.pid},
                       {"tid", tid},
                       {"name", name},
                       {"ts", at_us},
                       {"dur", took_us},
                       {"args", std::move(args)}});
  }
  void meta(const char* what, int pid, int tid, json args) {
    events_.push_back(
        {{"ph", "M"}, {"pid", pid}, {"tid", tid}, {"name", what}, {"args", std::move(args)}});
  }
  std::map<std::string, Group> groups_;
  json events_ = json::array();
};

std::string step_name(const TraceStep& step) {
  if (step.rows == 1) return "position " + std::to_string(step.position);
  return "positions " + std::to_string(step.position) + "-" +
         std::to_string(step.position + step.rows - 1);
}

// Adds the stages of one step, one after the other, with the network between them.
void add_step(Rows& rows, const TraceStep& step, double begin_us) {
  const std::string name = step_name(step);
  const double at_us = begin_us + static_cast<double>(step.sent_us);
  const double took_us = static_cast<double>(step.answered_us - step.sent_us);
  if (step.lost || step.stages.empty()) {
    rows.add("request", "lost steps", name, at_us, took_us,
             {{"why", "a node was lost, or the request ended before the answer"}});
    return;
  }
  double in_stages = 0;
  for (const TraceStage& stage : step.stages) {
    in_stages += static_cast<double>(stage.queue_us + stage.compute_us);
  }
  // Clocks that run at different speeds could make the parts longer than the whole.
  const double scale = in_stages > took_us && in_stages > 0 ? took_us / in_stages : 1.0;
  const double hop_us = (took_us - in_stages * scale) / static_cast<double>(step.stages.size() + 1);
  double now_us = at_us;
  for (const TraceStage& stage : step.stages) {
    const double queue_us = static_cast<double>(stage.queue_us) * scale;
    const double compute_us = static_cast<double>(stage.compute_us) * scale;
    const std::string group = "stage " + stage.name;
    rows.add(group, "wire", name, now_us, hop_us);
    now_us += hop_us;
    rows.add(group, "queue", name, now_us, queue_us);
    now_us += queue_us;
    rows.add(group, "compute", name, now_us, compute_us, {{"rows", step.rows}});
    now_us += compute_us;
  }
  rows.add("request", "wire back", name, now_us, at_us + took_us - now_us);
}

}  // namespace

std::string chrome_trace(const AnswerTrace& trace, const std::string& title) {
  Rows rows;
  const double total_us = static_cast<double>(trace.total_us);
  const double open_us = std::min(static_cast<double>(trace.open_us), total_us);
  const double engine_us = std::min(static_cast<double>(trace.engine_us), total_us - open_us);
  const double way_us = (total_us - open_us - engine_us) / 2;
  const double begin_us = open_us + way_us;
  rows.nest("request", "answer", title, 0, total_us, {{"request", trace.request}});
  rows.nest("request", "answer", "open the model", 0, open_us);
  rows.nest("request", "answer", "way to the engine", open_us, way_us);
  if (!trace.steps.empty()) {
    const double first_us = static_cast<double>(trace.steps.front().sent_us);
    rows.nest("request", "answer", "wait for a credit", begin_us, first_us);
    rows.nest("request", "answer", "steps", begin_us + first_us, engine_us - first_us);
  }
  rows.nest("request", "answer", "way back", begin_us + engine_us, way_us);
  for (const TraceStep& step : trace.steps) add_step(rows, step, begin_us);
  json out = {{"displayTimeUnit", "ms"}, {"traceEvents", rows.take()}};
  out["otherData"] = {{"request", trace.request},
                      {"wire",
                       "the part of a step's time that its stages' queue and compute leave, shared "
                       "out evenly over the hops"}};
  return out.dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace troupe::tools
