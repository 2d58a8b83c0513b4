#include <algorithm>
#include <array>
#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <future>
#include <string_view>
#include <utility>

#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <poll.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <troupe/actors/facade/home.h>
#include <troupe/runtime/device/device.h>
#include <troupe/runtime/log.h>
#include <troupe/tools/troupe/daemon/device_nodes.h>
#include <troupe/tools/troupe/daemon/free_ports.h>

namespace troupe::tools {
namespace {

using std::chrono::milliseconds;

constexpr const char* kParentVariable = "TROUPE_DEVICE_OF";  // the number of the daemon's process
constexpr std::chrono::seconds kReadyPatience{120}, kLeavePatience{5}, kLongPause{60};
constexpr std::size_t kSaidMax = 1 << 16;

// True for the variables that a GPU's node inherits: all but those by which settings or a service
// manager address the daemon.
bool is_inherited(std::string_view variable) {
  const auto begins = [&](std::string_view with) {
    return variable.substr(0, with.size()) == with;
  };
  if (begins("TROUPE_ISA=") || begins("TROUPE_FAILPOINT")) return true;
  for (const char* name : {"TROUPE_", "NOTIFY_SOCKET=", "WATCHDOG_",
                           "INVOCATION_ID=", "SYSTEMD_EXEC_PID=", "LISTEN_", "SLURM_"}) {
    if (begins(name)) return false;
  }
  return true;
}

std::vector<std::string> environment_of_node() {
  std::vector<std::string> variables;
  for (char** at = environ; *at != nullptr; ++at) {
    if (is_inherited(*at)) variables.emplace_back(*at);
  }
  variables.push_back(std::string(kParentVariable) + "=" + std::to_string(::getpid()));
  return variables;
}

std::vector<std::string> command_of(const DeviceNode& node) {
  std::vector<std::string> words = {"troupe",  "start",    "--json",      "--home",
                                    node.home, "--device", node.device,   "--name",
                                    node.name, "--log",    node.log_level};
  if (!node.join.empty()) words.insert(words.end(), {"--join", "-"});
  if (node.threads > 0) words.insert(words.end(), {"--threads", std::to_string(node.threads)});
  if (node.listen_from) {
    const net::Endpoint& from = *node.listen_from;
    const std::uint16_t port =
        first_free_ports(from.host, from.port, net::kChannels).value_or(from.port);
    words.insert(words.end(), {"--listen", net::to_string({from.host, port})});
    if (node.advertise_host) {
      words.insert(words.end(), {"--advertise", net::to_string({*node.advertise_host, port})});
    }
  }
  return words;
}

std::vector<char*> pointers_to(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

// A pipe whose ends are closed in the programs that this process runs.
struct Pipe {
  Pipe() {
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) ends = {-1, -1};
  }
  ~Pipe() {
    for (int i = 0; i < 2; ++i) close(i);
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  void close(int end) {
    if (ends[end] >= 0) ::close(ends[end]);
    ends[end] = -1;
  }
  std::array<int, 2> ends{};
};

// Returns what a node that could not start printed on stdout.
Status reason_of(const DeviceNode& node, const std::string& said, int status) {
  const auto json = nlohmann::json::parse(said, nullptr, false);
  if (json.is_object() && json.contains("error") && json["error"].is_object()) {
    return Status(Code::kUnavailable,
                  node.device + ": " + json["error"].value("message", std::string("it failed")));
  }
  const std::string how = WIFSIGNALED(status)
                              ? "was ended by signal " + std::to_string(WTERMSIG(status))
                              : "ended with status " + std::to_string(WEXITSTATUS(status));
  return Status(Code::kUnavailable,
                "the node of " + node.device + " " + how + " before it was ready");
}

// Prepares a node's home, whose store is the daemon's: weights lie on the disk once.
Status prepare(const DeviceNode& node) {
  TROUPE_RETURN_IF_ERROR(
      actors::prepare_home(std::filesystem::path(node.home).parent_path().string()));
  TROUPE_RETURN_IF_ERROR(actors::prepare_home(node.home));
  const std::filesystem::path store = std::filesystem::path(node.home) / "store";
  std::error_code error;
  if (std::filesystem::symlink_status(store, error).type() !=
      std::filesystem::file_type::not_found) {
    return Status::ok();
  }
  std::filesystem::create_directory_symlink(node.store, store, error);
  if (!error) return Status::ok();
  return Status(Code::kPermissionDenied,
                "cannot make the link " + store.string() + ": " + error.message());
}

}  // namespace

Result<DeviceShares> share_devices(const std::string& list, bool head) {
  std::vector<std::string> devices;
  for (std::size_t begin = 0; begin <= list.size();) {
    const std::size_t end = std::min(list.find(',', begin), list.size());
    const std::string device = list.substr(begin, end - begin);
    if (device.empty() && !list.empty()) {
      return Status(Code::kInvalidArgument, "it has an empty name between commas");
    }
    TROUPE_ASSIGN_OR_RETURN(const auto gpu, gpu_of(device));
    const std::string name = gpu ? "cuda:" + std::to_string(*gpu) : "cpu";
    if (std::find(devices.begin(), devices.end(), name) != devices.end()) {
      return Status(Code::kInvalidArgument, "it names " + name + " twice");
    }
    devices.push_back(name);
    begin = end + 1;
  }
  DeviceShares shares;
  const auto cpu = std::find(devices.begin(), devices.end(), "cpu");
  if (cpu != devices.end()) {
    devices.erase(cpu);
  } else if (head) {
    shares.works = false;
  } else {
    shares.own = devices.front();
    devices.erase(devices.begin());
  }
  shares.nodes = std::move(devices);
  return shares;
}

// There is a thread for each child, which starts the process, waits for its end, and starts it
// again. The process dies with the thread that started it, so that thread stays.
struct DeviceNodes::Child {
  explicit Child(DeviceNode what) : node(std::move(what)) {}

  void run() {
    RestartBudget budget;
    for (;;) {
      const Status begun = begin();
      int status = 0;
      std::string said;
      if (begun) {
        said = listen();
        // No other process can get the child's number before its status is taken below, under the
        // lock.
        siginfo_t info;
        while (::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT) < 0 &&
               errno == EINTR) {
        }
      }
      std::unique_lock lock(mutex);
      if (begun) ::waitpid(pid, &status, 0);
      pid = -1;
      if (!ready_told) {
        ready_told = true;
        return ready.set_value(begun ? reason_of(node, said, status) : begun);
      }
      if (over) return;
      if (begun && WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        log(LogLevel::kInfo, "the node of " + node.device + " was told to stop");
        return;
      }
      const auto soon = budget.crashed(RestartBudget::Clock::now());
      const milliseconds pause = soon.value_or(kLongPause);
      log(LogLevel::kWarning,
          "the node of " + node.device +
              (begun ? " has ended" : " could not be started (" + begun.message() + ")") +
              ": starting it again" + (soon ? "" : " in a minute, because it ended often"));
      if (wake.wait_for(lock, pause, [this] { return over; })) return;
    }
  }

  // Allows the first start to fail, too: it is then tried again.
  void need_not_be_ready() {
    ready_told = true;
    ready.set_value(Status::ok());
  }
  void end() {
    {
      std::lock_guard lock(mutex);
      over = true;
      if (pid > 0) ::kill(pid, SIGTERM);
    }
    wake.notify_all();
  }
  void kill() {
    std::lock_guard lock(mutex);
    if (pid > 0) ::kill(pid, SIGKILL);
  }

  const DeviceNode node;
  std::promise<Status> ready;
  std::promise<void> ended;
  std::thread thread;

 private:
  Status begin() {
    TROUPE_RETURN_IF_ERROR(prepare(node));
    Pipe in, out, err;
    if (in.ends[0] < 0 || out.ends[0] < 0 || err.ends[0] < 0) {
      return Status(Code::kUnavailable, std::string("cannot make a pipe: ") + std::strerror(errno));
    }
    std::vector<std::string> words = command_of(node), variables = environment_of_node();
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawnattr_init(&attributes);
    ::posix_spawn_file_actions_adddup2(&actions, in.ends[0], STDIN_FILENO);
    ::posix_spawn_file_actions_adddup2(&actions, out.ends[1], STDOUT_FILENO);
    ::posix_spawn_file_actions_adddup2(&actions, err.ends[1], STDERR_FILENO);
    ::posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
    sigset_t none, all;
    ::sigemptyset(&none);
    ::sigfillset(&all);
    ::posix_spawnattr_setsigmask(&attributes, &none);
    ::posix_spawnattr_setsigdefault(&attributes, &all);
    ::posix_spawnattr_setpgroup(&attributes, 0);  // the daemon passes Ctrl-C on
    ::posix_spawnattr_setflags(
        &attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    pid_t child = -1;
    int error = ECANCELED;
    {
      std::lock_guard lock(mutex);
      if (!over) {
        error = ::posix_spawn(&child, "/proc/self/exe", &actions, &attributes,
                              pointers_to(words).data(), pointers_to(variables).data());
        if (error == 0) pid = child;
      }
    }
    ::posix_spawn_file_actions_destroy(&actions);
    ::posix_spawnattr_destroy(&attributes);
    if (error != 0) {
      return Status(Code::kUnavailable,
                    std::string("cannot start a process: ") + std::strerror(error));
    }
    // The token fits into the pipe, so nothing waits for a process that does not read.
    const std::string line = node.join + "\n";
    if (::write(in.ends[1], line.data(), line.size()) < 0) {
      log(LogLevel::kWarning, "the node of " + node.device + " does not take its token");
    }
    stdout_of_child = std::exchange(out.ends[0], -1);
    stderr_of_child = std::exchange(err.ends[0], -1);
    return Status::ok();
  }

  // Reads what the process says until it has closed both streams. On stdout, the first line says
  // that the node is ready, or why it is not. Its stderr is copied to the daemon's, wherever that
  // leads by then, because only the daemon opens a log anew that was moved away.
  std::string listen() {
    std::string said;
    std::array<pollfd, 2> streams = {{{stdout_of_child, POLLIN, 0}, {stderr_of_child, POLLIN, 0}}};
    std::array<char, 4096> buffer{};
    while (streams[0].fd >= 0 || streams[1].fd >= 0) {
      if (::poll(streams.data(), streams.size(), -1) < 0 && errno != EINTR) break;
      for (pollfd& stream : streams) {
        if (stream.fd < 0 || stream.revents == 0) continue;
        const ssize_t n = ::read(stream.fd, buffer.data(), buffer.size());
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) {
          ::close(std::exchange(stream.fd, -1));
        } else if (&stream == &streams[1]) {
          std::fwrite(buffer.data(), 1, static_cast<std::size_t>(n), stderr);
        } else if (said.size() < kSaidMax) {
          said.append(buffer.data(), static_cast<std::size_t>(n));
          note_ready(said);
        }
      }
    }
    for (const pollfd& stream : streams) {
      if (stream.fd >= 0) ::close(stream.fd);
    }
    return said.substr(0, said.find('\n'));
  }

  void note_ready(const std::string& said) {
    if (said.find('\n') == std::string::npos || said.rfind("{\"ready\"", 0) != 0) return;
    std::lock_guard lock(mutex);
    if (ready_told) return;
    ready_told = true;
    ready.set_value(Status::ok());
  }

  std::mutex mutex;
  std::condition_variable wake;
  pid_t pid = -1;
  bool over = false, ready_told = false;
  int stdout_of_child = -1, stderr_of_child = -1;
};

DeviceNodes::DeviceNodes() = default;

Result<std::unique_ptr<DeviceNodes>> DeviceNodes::start(std::vector<DeviceNode> nodes, bool again) {
  std::unique_ptr<DeviceNodes> all(new DeviceNodes);
  std::vector<std::future<Status>> ready;
  for (DeviceNode& node : nodes) {
    all->children_.push_back(std::make_unique<Child>(std::move(node)));
    Child* const child = all->children_.back().get();
    if (again) child->need_not_be_ready();
    ready.push_back(child->ready.get_future());
    child->thread = std::thread([child] {
      child->run();
      child->ended.set_value();
    });
  }
  const auto until = std::chrono::steady_clock::now() + kReadyPatience;
  for (std::size_t i = 0; i < ready.size(); ++i) {
    if (ready[i].wait_until(until) != std::future_status::ready) {
      return Status(Code::kDeadlineExceeded, "the node of " + all->children_[i]->node.device +
                                                 " was not ready within two minutes");
    }
    TROUPE_RETURN_IF_ERROR(ready[i].get());
  }
  return all;
}

DeviceNodes::~DeviceNodes() {
  for (const auto& child : children_) child->end();
  const auto until = std::chrono::steady_clock::now() + kLeavePatience;
  for (const auto& child : children_) {
    if (child->ended.get_future().wait_until(until) != std::future_status::ready) child->kill();
    child->thread.join();
  }
}

bool is_device_node() {
  static const bool is = [] {
    const char* const parent = std::getenv(kParentVariable);
    if (parent == nullptr) return false;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (std::to_string(::getppid()) != parent)
      ::_exit(1);  // the parent died before prctl took effect
    return true;
  }();
  return is;
}

}  // namespace troupe::tools
