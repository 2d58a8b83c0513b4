#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <optional>
#include <vector>

#include <nlohmann/json.hpp>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <troupe/runtime/text/utf8.h>
#include <troupe/tools/troupe/connect.h>
#include <troupe/tools/troupe/terminal/output.h>
#include <troupe/tools/troupe/terminal/signals.h>
#include <troupe/tools/troupe/views/cluster_view.h>
#include <troupe/tools/troupe/views/to_json.h>
#include <troupe/tools/troupe/views/watch.h>

namespace troupe::tools {
namespace {

using Clock = std::chrono::steady_clock;

// Returns the member of `list` for which `is_same` holds; null if there is none.
template <class Value, class IsSame>
const Value* find_in(const std::vector<Value>& list, IsSame is_same) {
  const auto found = std::find_if(list.begin(), list.end(), is_same);
  return found != list.end() ? &*found : nullptr;
}

// Returns how much a counter grew per second; "-" if its earlier value is unknown, or if it began
// again from zero.
template <class Value>
std::string rate(const Value& now, const Value* before, std::uint64_t Value::*counter,
                 double seconds) {
  if (before == nullptr || seconds <= 0 || now.*counter < before->*counter) return "-";
  return format_number(static_cast<double>(now.*counter - before->*counter) / seconds, 1);
}

std::string clock_text() {
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  ::localtime_r(&now, &local);
  char text[16];
  std::strftime(text, sizeof text, "%H:%M:%S", &local);
  return text;
}

// The screen of a terminal, redrawn from its first line.
class Screen {
 public:
  Screen() { write("\x1b[?25l\x1b[2J"); }
  ~Screen() { write("\x1b[?25h\n"); }
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;

  void draw(const std::string& text) {
    winsize size{};
    if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) size = {24, 80, 0, 0};
    std::string out = "\x1b[H";
    std::size_t begin = 0;
    // The last line stays free, because a line's end there would scroll.
    for (int row = 0; row + 1 < size.ws_row && begin < text.size(); ++row) {
      const std::size_t end = std::min(text.find('\n', begin), text.size());
      std::string_view line(text.data() + begin, std::min<std::size_t>(end - begin, size.ws_col));
      line = line.substr(0, utf8_valid_prefix(line));
      out.append(line);
      out += "\x1b[K\r\n";
      begin = end + 1;
    }
    write(out + "\x1b[J");
  }

 private:
  static void write(const std::string& text) {
    std::fwrite(text.data(), 1, text.size(), stdout);
    std::fflush(stdout);
  }
};

// The connection to the head, which is made again after it was lost.
class Source {
 public:
  explicit Source(const WatchOptions& options) : options_(options) {}
  Result<ClusterStatus> ask() {
    if (!cluster_) {
      TROUPE_ASSIGN_OR_RETURN(Cluster made, connect_cluster(options_.home, options_.cluster));
      cluster_.emplace(std::move(made));
    }
    Result<ClusterStatus> status = cluster_->status();
    if (!status) cluster_.reset();
    return status;
  }

 private:
  const WatchOptions& options_;
  std::optional<Cluster> cluster_;
};

}  // namespace

std::string watch_text(const ClusterStatus& now, const ClusterStatus* before, double seconds) {
  std::vector<std::vector<std::string>> nodes = {
      {"NODE", "STATE", "LAYERS", "WEIGHTS", "KV", "POSITIONS/S", "STEPS/S"}};
  for (const NodeStatus& node : now.nodes) {
    const NodeStatus* old =
        before == nullptr ? nullptr : find_in(before->nodes, [&](const NodeStatus& other) {
          return other.name == node.name;
        });
    nodes.push_back({node.name, node.state, or_dash(node.layers), format_bytes(node.weights_bytes),
                     format_bytes(node.kv_bytes), rate(node, old, &NodeStatus::positions, seconds),
                     rate(node, old, &NodeStatus::steps, seconds)});
  }
  std::string text = table_text(nodes) + "\n";
  if (now.deployments.empty()) return text + "no model is loaded\n";
  std::vector<std::vector<std::string>> models = {
      {"MODEL", "STATE", "TOKENS/S", "RUNNING", "QUEUED", "ANSWERED", "STAYS"}};
  for (const DeploymentStatus& deployment : now.deployments) {
    const DeploymentStatus* old =
        before == nullptr ? nullptr
                          : find_in(before->deployments, [&](const DeploymentStatus& other) {
                              return other.id == deployment.id;
                            });
    const std::uint64_t under_way = deployment.running + deployment.queued;
    models.push_back(
        {name_of(deployment), deployment.state,
         rate(deployment, old, &DeploymentStatus::tokens, seconds),
         std::to_string(deployment.running), std::to_string(deployment.queued),
         std::to_string(deployment.requests - std::min(deployment.requests, under_way)),
         stay_of(deployment)});
  }
  return text + table_text(models);
}

int watch_status(const WatchOptions& options) {
  Source source(options);
  Result<ClusterStatus> status = source.ask();
  if (!status) return fail(status.status(), options.json);
  SignalWatch signals;
  const bool terminal = !options.json && ::isatty(STDOUT_FILENO) != 0;
  std::optional<Screen> screen;
  if (terminal) screen.emplace();
  std::optional<ClusterStatus> before;
  auto asked = Clock::now(), asked_before = asked;
  while (signals.count() == 0 && std::ferror(stdout) == 0) {
    const double seconds = std::chrono::duration<double>(asked - asked_before).count();
    if (options.json) {
      if (status) print_json(to_json(*status));
    } else {
      std::string text = clock_text() + "  every " + format_number(options.interval_s, 1) + " s";
      if (status) {
        text += "  cluster " + status->cluster + "\n\n" +
                watch_text(*status, before ? &*before : nullptr, seconds);
      } else {
        text += "\n\n" + status.message() + "; trying again\n";
      }
      if (screen) {
        screen->draw(text);
      } else {
        std::printf("%s\n", text.c_str());
        std::fflush(stdout);
      }
    }
    pollfd waiting{signals.descriptor(), POLLIN, 0};
    ::poll(&waiting, 1, static_cast<int>(std::lround(options.interval_s * 1000)));
    if (signals.count() != 0) break;
    before = status ? std::optional(*status) : std::nullopt;
    asked_before = asked;
    status = source.ask();
    asked = Clock::now();
  }
  return kExitOk;
}

}  // namespace troupe::tools
