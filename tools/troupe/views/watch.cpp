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
#include <troupe/tools/troupe/views/watch.h>

namespace troupe::tools {
namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

std::uint64_t number(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number_unsigned() ? found->get<std::uint64_t>() : 0;
}

// The member of `list` whose `key` is that of `like`; an empty object when there is none.
json same_in(const json& list, const char* key, const json& like) {
  for (const json& entry : list) {
    if (entry.is_object() && text_of(entry, key) == text_of(like, key)) return entry;
  }
  return json::object();
}

// How much a counter grew a second; "-" when it is not known from before or began anew.
std::string rate(const json& now, const json& before, const char* key, double seconds) {
  if (before.empty() || seconds <= 0 || number(now, key) < number(before, key)) return "-";
  return format_number(static_cast<double>(number(now, key) - number(before, key)) / seconds, 1);
}

std::string or_dash(const std::string& text) { return text.empty() ? "-" : text; }

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
    // The last line stays free: a line's end there would scroll.
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

// The connection to the head, made again when it was lost.
class Source {
 public:
  explicit Source(const WatchOptions& options) : options_(options) {}
  Result<json> ask() {
    if (!cluster_) {
      TROUPE_ASSIGN_OR_RETURN(Cluster made, connect_cluster(options_.home, options_.cluster));
      cluster_.emplace(std::move(made));
    }
    const Result<std::string> text = cluster_->status_json();
    if (!text) {
      cluster_.reset();
      return text.status();
    }
    json status = json::parse(*text, nullptr, false);
    if (status.is_object()) return status;
    return Status(Code::kBadData, "the head answered with something that is not a status");
  }

 private:
  const WatchOptions& options_;
  std::optional<Cluster> cluster_;
};

}  // namespace

std::string watch_text(const json& now, const json& before, double seconds) {
  std::vector<std::vector<std::string>> nodes = {
      {"NODE", "STATE", "LAYERS", "WEIGHTS", "KV", "POSITIONS/S", "STEPS/S"}};
  for (const json& node : list_of(now, "nodes")) {
    const json old = same_in(list_of(before, "nodes"), "name", node);
    nodes.push_back({text_of(node, "name"), text_of(node, "state"),
                     or_dash(text_of(node, "layers")), format_bytes(number(node, "weights_bytes")),
                     format_bytes(number(node, "kv_bytes")), rate(node, old, "positions", seconds),
                     rate(node, old, "steps", seconds)});
  }
  std::string text = table_text(nodes) + "\n";
  const json deployments = list_of(now, "deployments");
  if (deployments.empty()) return text + "no model is loaded\n";
  std::vector<std::vector<std::string>> models = {
      {"MODEL", "STATE", "TOKENS/S", "RUNNING", "QUEUED", "ANSWERED", "STAYS"}};
  for (const json& deployment : deployments) {
    const json old = same_in(list_of(before, "deployments"), "id", deployment);
    const std::uint64_t under_way = number(deployment, "running") + number(deployment, "queued");
    const std::uint64_t requests = number(deployment, "requests");
    models.push_back({name_of(deployment), text_of(deployment, "state"),
                      rate(deployment, old, "tokens", seconds), text_of(deployment, "running"),
                      text_of(deployment, "queued"),
                      std::to_string(requests - std::min(requests, under_way)),
                      stay_of(deployment)});
  }
  return text + table_text(models);
}

int watch_status(const WatchOptions& options) {
  Source source(options);
  Result<json> status = source.ask();
  if (!status) return fail(status.status(), options.json);
  SignalWatch signals;
  const bool terminal = !options.json && ::isatty(STDOUT_FILENO) != 0;
  std::optional<Screen> screen;
  if (terminal) screen.emplace();
  json before = json::object();
  auto asked = Clock::now(), asked_before = asked;
  while (signals.count() == 0 && std::ferror(stdout) == 0) {
    const double seconds = std::chrono::duration<double>(asked - asked_before).count();
    if (options.json) {
      if (status) print_json(*status);
    } else {
      std::string text = clock_text() + "  every " + format_number(options.interval_s, 1) + " s";
      if (status) {
        text += "  cluster " + text_of(*status, "cluster") + "\n\n" +
                watch_text(*status, before, seconds);
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
    before = status ? *status : json::object();
    asked_before = asked;
    status = source.ask();
    asked = Clock::now();
  }
  return kExitOk;
}

}  // namespace troupe::tools
