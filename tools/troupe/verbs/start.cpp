#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <thread>

#include <nlohmann/json.hpp>
#include <unistd.h>

#include <troupe/actors/facade/home.h>
#include <troupe/actors/troupe.h>
#include <troupe/runtime/failpoint.h>
#include <troupe/runtime/log.h>
#include <troupe/tools/troupe/daemon/address_watch.h>
#include <troupe/tools/troupe/daemon/background.h>
#include <troupe/tools/troupe/daemon/daemon_settings.h>
#include <troupe/tools/troupe/daemon/device_nodes.h>
#include <troupe/tools/troupe/daemon/free_ports.h>
#include <troupe/tools/troupe/daemon/http_door.h>
#include <troupe/tools/troupe/daemon/own_address.h>
#include <troupe/tools/troupe/daemon/parent.h>
#include <troupe/tools/troupe/daemon/service_manager.h>
#include <troupe/tools/troupe/daemon/slurm.h>
#include <troupe/tools/troupe/options.h>
#include <troupe/tools/troupe/terminal/logging.h>
#include <troupe/tools/troupe/terminal/output.h>
#include <troupe/tools/troupe/terminal/signals.h>
#include <troupe/tools/troupe/verbs.h>

namespace troupe::tools {
namespace {

// If a daemon's node has not run for this long, the watchdog is no longer told that all is well.
constexpr int kStalledMs = 5000;
// How often a node checks whether this machine still has its address.
constexpr int kLookMs = 2000;
// The number of times that a node looks for other ports if another program takes those that were
// free.
constexpr int kPortTries = 30;

struct StartOptions {
  CommonOptions common;
  std::map<std::string, std::string> flags;
  std::string config;
  bool print_config = false;
};

std::atomic<Daemon*> running{nullptr};  // for the signal handler

// What is printed when the daemon is ready; each line ends in a newline.
struct Announcement {
  std::string out, err;
  void say(const std::string& text) { err += "troupe: " + text + "\n"; }
};

// `head` is the address of a node's head. The line on stdout is printed once: a daemon that was
// started `again` has nothing to add, and the first token lets nodes in until it expires.
Announcement announce(bool json, bool again, const DaemonOptions& started, const Daemon& daemon,
                      const std::optional<net::Endpoint>& head) {
  Announcement text;
  // Other users may read systemd's journal: a token does not go there.
  const bool is_read = goes_to_journal(STDOUT_FILENO);
  const std::string join = is_read ? "" : daemon.join_address();
  const net::Endpoint address = started.advertise.value_or(started.listen);
  if (again) {
    text.say(daemon.name() + " is ready again at " + net::to_string(address));
    return text;
  }
  if (json) {
    text.out = nlohmann::json{{"ready",
                               {{"name", daemon.name()},
                                {"role", started.head ? "head" : "node"},
                                {"address", net::to_string(address)},
                                {"join", join},
                                {"home", resolve_home(started.home)},
                                {"pid", ::getpid()}}}}
                   .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) +
               "\n";
  } else if (started.head && !is_read) {
    text.out = "troupe start --join " + join + "\n";
  }
  const bool only_here = is_only_here(address.host);
  const std::string elsewhere = "start with --listen ADDRESS:" + std::to_string(address.port) +
                                " (an address of this machine)";
  if (!started.head) {
    text.say("node " + daemon.name() + " is ready at " + net::to_string(address));
    if (only_here && head && !is_only_here(head->host))
      text.say("only this machine reaches " + address.host +
               ", so other nodes cannot: " + elsewhere);
    return text;
  }
  text.say("head " + daemon.name() + " is ready at " + net::to_string(address) +
           (is_read ? "; 'troupe key new' as this user prints what a node joins with"
                    : "; the line on stdout makes another machine a node of it"));
  if (only_here)
    text.say("only this machine reaches " + address.host + "; " + elsewhere +
             " to let others join");
  return text;
}

// Prints a text here, or through the parent of a daemon in the background. Returns false if the
// parent is gone.
bool tell(std::optional<Background>& background, const Announcement& text, int status) {
  if (background) {
    std::fwrite(text.err.data(), 1, text.err.size(), stderr);  // the log
    return background->report(text.out, text.err, status);
  }
  // A program that waits for the line on stdout finds everything else printed already.
  std::fwrite(text.err.data(), 1, text.err.size(), stderr);
  std::fwrite(text.out.data(), 1, text.out.size(), stdout);
  std::fflush(stdout);
  return true;
}

int give_up(std::optional<Background>& background, const Status& why, bool json) {
  if (!background) return fail(why, json);
  Announcement text;
  text.say(why.message());
  if (json) text.out = nlohmann::json{{"error", error_json(why)}}.dump() + "\n";
  tell(background, text, exit_status(why.code()));
  return exit_status(why.code());
}

// How a daemon's service ended: with an outcome, or because it must listen on another address.
struct Served {
  Status outcome;
  std::optional<std::string> moved_to;
};

// Waits until the daemon is asked to stop, its cluster ends it, or its address is gone.
Served serve(Daemon& daemon, ServiceManager& manager, AddressWatch* addresses) {
  manager.notify("READY=1\nMAINPID=" + std::to_string(::getpid()) + "\nSTATUS=" + daemon.name());
  int every_ms = manager.watchdog_ms().value_or(-1);
  const bool looks = addresses != nullptr || has_log_file();
  if (looks && (every_ms < 0 || every_ms > kLookMs)) every_ms = kLookMs;
  for (;;) {
    if (const auto outcome = daemon.wait_for(every_ms)) return {*outcome, std::nullopt};
    limit_log();
    if (daemon.stalled_ms() < kStalledMs) {
      manager.notify("WATCHDOG=1");
    } else {
      log(LogLevel::kError, "the daemon has not responded for " +
                                std::to_string(daemon.stalled_ms()) +
                                " ms: the watchdog is not told that all is well");
    }
    if (addresses == nullptr) continue;
    if (const auto now = addresses->moved()) return {Status(), now};
  }
}

// Starts the daemon. A node that was not told where to listen looks for other ports if another
// program takes those that were free, because several nodes may be started at the same time.
Result<Daemon> start_somewhere(const Settings& settings, DaemonOptions* options) {
  for (int tries = 0;; ++tries) {
    Result<Daemon> daemon = Daemon::start(*options);
    // The other meaning of kAlreadyExists is that a daemon runs on this home.
    const bool taken =
        daemon.code() == Code::kAlreadyExists && !daemon_address(options->home).is_ok();
    if (!taken || options->head || settings.given("listen") || tries == kPortTries) return daemon;
    std::this_thread::sleep_for(std::chrono::milliseconds(10 + ::getpid() % 50));
    const auto free = first_free_ports(options->listen.host, options->listen.port, net::kChannels);
    if (!free) return daemon;
    options->listen.port = *free;
  }
}

// Starts the node on its new address, and tries again until that succeeds.
Result<Daemon> start_again(const Settings& settings, DaemonOptions* options,
                           const SignalWatch& watch, ServiceManager& manager) {
  for (;;) {
    Result<Daemon> daemon = start_somewhere(settings, options);
    if (daemon || daemon.code() != Code::kUnavailable || watch.count() > 0) return daemon;
    log(LogLevel::kWarning, daemon.message() + "; trying again");
    manager.notify("WATCHDOG=1");
    std::this_thread::sleep_for(std::chrono::milliseconds(kLookMs));
  }
}

void ask_stop() {
  if (Daemon* const daemon = running.load()) daemon->request_stop();
}

// Serves until the end, on one address after the other. `close_doors` is called before the daemon
// ends for good.
template <class CloseDoors>
Status serve_everywhere(const Settings& settings, std::optional<Daemon> daemon,
                        DaemonOptions options, std::optional<AddressWatch> addresses,
                        const SignalWatch& watch, ServiceManager& manager,
                        const CloseDoors& close_doors) {
  for (;;) {
    running = &*daemon;
    if (watch.count() > 0) daemon->request_stop();  // it came while there was no daemon
    const Served served = serve(*daemon, manager, addresses ? &*addresses : nullptr);
    if (!served.moved_to) {
      tell_parent_stopping();
      manager.notify("STOPPING=1");
      close_doors();
    }
    running = nullptr;
    daemon->stop();
    daemon.reset();
    if (!served.moved_to) return served.outcome;
    log(LogLevel::kWarning, "this machine has no address " + options.listen.host +
                                " any more: joining the cluster again from " + *served.moved_to);
    options.listen.host = *served.moved_to;
    Result<Daemon> again = start_again(settings, &options, watch, manager);
    if (!again) {
      close_doors();
      return watch.count() > 0 ? Status() : again.status();
    }
    daemon.emplace(std::move(*again));
  }
}

// Returns the address of a node's head; absent for a head.
std::optional<net::Endpoint> head_of(const Settings& settings, const DaemonOptions& options) {
  if (options.head) return std::nullopt;
  const std::string join = settings.text("join");
  const auto parsed = net::parse_endpoint(join.substr(join.rfind('@') + 1));
  return parsed ? std::optional(*parsed) : std::nullopt;
}

// Watches the address of a node that was not told where to listen.
std::optional<AddressWatch> watch_address(const Settings& settings, const DaemonOptions& options,
                                          const std::optional<net::Endpoint>& head) {
  const bool told = settings.given("listen") || settings.given("advertise");
  if (!head || told || is_only_here(options.listen.host)) return std::nullopt;
  return AddressWatch(options.listen.host, *head);
}

// Returns the GPUs of a running daemon, each of which becomes a node of its own.
std::vector<DeviceNode> device_nodes(const Settings& settings, const DaemonOptions& options,
                                     const Daemon& daemon) {
  std::vector<DeviceNode> nodes;
  const auto shares = share_devices(settings.text("device"), options.head);
  if (!shares) return nodes;
  const std::filesystem::path home = resolve_home(options.home);
  for (const std::string& device : shares->nodes) {
    DeviceNode node;
    node.device = device;
    std::string folder = device;
    std::erase(folder, ':');
    node.name = daemon.name() + "-" + folder;
    node.home = home / "devices" / folder;
    node.store = std::filesystem::absolute(home / "store");
    node.join = options.head ? daemon.join_address() : options.join;
    node.threads = options.threads;
    node.log_level = settings.text("log");
    if (settings.given("listen")) {
      // The node's ports come after those of the daemon and of the earlier GPUs.
      const std::size_t before = nodes.size() + 1;
      node.listen_from = {options.listen.host, static_cast<std::uint16_t>(options.listen.port +
                                                                          before * net::kChannels)};
    }
    if (options.advertise) node.advertise_host = options.advertise->host;
    nodes.push_back(std::move(node));
  }
  return nodes;
}

int run_daemon(const Settings& settings, DaemonOptions options,
               const std::optional<SlurmTask>& task, std::optional<Background>& background,
               bool again, bool json) {
  const Status armed = arm_failpoint_from_environment();
  if (!armed) return give_up(background, armed, json);
  // Until the daemon is ready, Ctrl-C ends the process at once, as it does by default.
  Result<Daemon> daemon = start_somewhere(settings, &options);
  if (!daemon) return give_up(background, daemon.status(), json);
  auto gpus = DeviceNodes::start(device_nodes(settings, options, *daemon), again);
  if (!gpus) return give_up(background, gpus.status(), json);
  const bool leaves_token = task && options.head;
  if (leaves_token) {
    const Status written = write_token(*task, options.home, daemon->join_address());
    if (!written) return give_up(background, written, json);
  }
  Result<std::unique_ptr<HttpDoor>> http = HttpDoor::open(settings, options.home);
  if (!http) return give_up(background, http.status(), json);
  ServiceManager manager;
  Status outcome;
  {
    SignalWatch watch(ask_stop);
    // In the foreground, SIGHUP means that the terminal is gone; in the background, that the log
    // was moved away.
    watch.take_hang_up(background ? reopen_log : nullptr);
    const std::optional<net::Endpoint> head = head_of(settings, options);
    Announcement text = announce(json, again, options, *daemon, head);
    if (*http) text.say("serving at " + (*http)->url() + "/v1");
    const auto close_doors = [&] {
      if (leaves_token) remove_token(*task);
      if (*http) (*http)->shut_down();
      http->reset();
      gpus->reset();
    };
    tell_parent_ready();  // before anyone else hears of it
    if (tell(background, text, kExitOk)) {
      outcome =
          serve_everywhere(settings, std::move(*daemon), options,
                           watch_address(settings, options, head), watch, manager, close_doors);
    } else {
      outcome = Status(Code::kCancelled, "the process that started this daemon is gone: stopping");
      close_doors();
      daemon->stop();
    }
  }
  if (outcome) return kExitOk;
  say(outcome.message());
  return kExitFailure;
}

int print_config(const Settings& settings, bool json) {
  if (json) {
    print_json({{"settings", settings.json()}});
  } else {
    print_table(settings.rows());
  }
  return kExitOk;
}

int start(const StartOptions& options) {
  const bool json = options.common.json;
  std::signal(SIGPIPE, SIG_IGN);  // a closed terminal must not end a daemon
  auto flags = options.flags;
  if (!options.common.home.empty()) flags["home"] = options.common.home;
  std::string config = options.config;
  if (const char* set = std::getenv("TROUPE_CONFIG"); config.empty() && set != nullptr)
    config = set;
  Result<Settings> settings = Settings::collect(flags, config);
  if (!settings) return fail(settings.status(), json);
  const Result<std::optional<SlurmTask>> task = slurm_task(*settings);
  if (!task) return fail(task.status(), json);
  if (*task && !options.print_config) {
    // The homes of the tasks lie below the user's home, and must not be readable by others either.
    const auto below = std::filesystem::path(settings->text("home")).parent_path();
    const Status home = actors::prepare_home(below.parent_path().string());
    if (!home) return fail(home, json);
    const Status here = await_token(**task, *settings);
    if (!here) return fail(here, json);
  }
  Result<DaemonOptions> prepared = daemon_options(*settings);
  if (!prepared) return fail(prepared.status(), json);
  const Status http = HttpDoor::check(*settings, prepared->head);
  if (!http) return fail(http, json);
  if (options.print_config) return print_config(*settings, json);
  const bool managed = has_service_manager();
  prepared->audit_also_logs = managed;
  std::optional<Background> background;
  if (settings->is_on("daemon")) {
    const Status home = actors::prepare_home(prepared->home);
    if (!home) return fail(home, json);
    Result<Background> detached = Background::detach(prepared->home);
    if (!detached) return fail(detached.status(), json);
    if (detached->parent_status()) return *detached->parent_status();
    background.emplace(std::move(*detached));
  }
  bool again = false;
  if (!managed && !is_device_node()) {
    const Result<Adopted> adopted = adopt(background);
    if (!adopted) return give_up(background, adopted.status(), json);
    if (adopted->parent_status) return *adopted->parent_status;
    again = adopted->again;
  }
  const bool level_given = settings->given("log");
  set_up_logging(LogLevel::kInfo, options.common.verbose,
                 level_given ? settings->text("log") : std::string());
  if (!prepared->head && prepared->join.empty()) {
    log(LogLevel::kInfo,
        "this home is a node of " + settings->text("join").substr(1) + ": joining it again");
  }
  return run_daemon(*settings, *prepared, *task, background, again, json);
}

void add_setting(CLI::App& app, const Setting& setting,
                 const std::shared_ptr<StartOptions>& options) {
  const std::string key = setting.key, flag = "--" + key;
  std::string help = setting.help;
  if (*setting.fallback != '\0' && setting.kind != SettingKind::kSwitch) {
    help += " [" + std::string(setting.fallback) + "]";
  }
  if (setting.kind == SettingKind::kSwitch) {
    app.add_flag_callback(
        flag, [options, key] { options->flags[key] = "true"; }, help);
    return;
  }
  app.add_option_function<std::string>(
         flag, [options, key](const std::string& text) { options->flags[key] = text; }, help)
      ->type_name(setting.type_name);
}

}  // namespace

Action add_start(CLI::App& app) {
  auto options = std::make_shared<StartOptions>();
  for (const Setting& setting : start_settings()) {
    if (std::string(setting.key) != "home") add_setting(app, setting, options);
  }
  app.add_option("--config", options->config,
                 "A TOML file with settings: `listen = \"192.168.1.5:7700\"` [HOME/config.toml]")
      ->type_name("FILE");
  app.add_flag("--print-config", options->print_config,
               "Show every setting, its value and where it comes from, and start nothing");
  add_common_options(app, options->common);
  app.footer(
      "Runs in the foreground until Ctrl-C, SIGTERM, SIGHUP or `troupe stop`; with --daemon, runs\n"
      "in the background, where SIGHUP opens HOME/log anew. When it is ready, a head prints one\n"
      "line on stdout: the command that makes another machine a node. If the daemon aborts, the\n"
      "parent process starts it again, at most five times within a minute (under systemd, the\n"
      "unit does), and jobs and answers go on; SIGKILL ends it for good. A setting may also be a\n"
      "variable (--keep-alive: TROUPE_KEEP_ALIVE) or a line of the file; flags take precedence\n"
      "over variables, and variables over the file.\n"
      "\n"
      "Examples:\n"
      "  troupe start                                  a head on 127.0.0.1:7700\n"
      "  troupe start --listen 192.168.1.5:7700        a head that other machines can join\n"
      "  troupe start --join TOKEN@192.168.1.5:7700    a node, on another machine\n"
      "  troupe start --daemon --memory 4GiB           in the background, with a bound\n"
      "  troupe start --join TOKEN@127.0.0.1:7700 --home /tmp/node2\n"
      "                                                a second daemon on one machine, on the "
      "next\n"
      "                                                three free ports");
  return [options] { return start(*options); };
}

}  // namespace troupe::tools
