#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include <unistd.h>

#include <troupe/actors/troupe.h>
#include <troupe/runtime/file.h>
#include <troupe/runtime/log.h>
#include <troupe/runtime/private_file.h>
#include <troupe/tools/troupe/daemon/own_address.h>
#include <troupe/tools/troupe/daemon/slurm.h>

namespace troupe::tools {
namespace {

using namespace std::chrono_literals;

constexpr auto kPatience = 120s;
constexpr std::uint16_t kFirstPort = 7700;
constexpr int kPortsATask = 10;  // the distance between tasks on one machine
constexpr std::size_t kTokenFileBytesMax = 4096;

std::string slurm_variable(const char* name) {
  const char* text = std::getenv(name);
  return text != nullptr ? text : "";
}

// Reads a number from the environment; returns `otherwise` if it is absent or not a number.
int number(const char* name, int otherwise) {
  const std::string text = slurm_variable(name);
  int value = otherwise;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && end == text.data() + text.size() && value >= 0 ? value : otherwise;
}

Status wrong_usage(const std::string& message) { return {Code::kInvalidArgument, message}; }

// Returns the second word of "JOB.STEP TOKEN@HOST:PORT" if the first is our step.
std::optional<std::string> join_in(const std::string& content, const std::string& id) {
  const std::size_t space = content.find(' ');
  if (space == std::string::npos || content.substr(0, space) != id) return std::nullopt;
  const std::string rest = content.substr(space + 1);
  return rest.substr(0, rest.find_first_of(" \n"));
}

}  // namespace

Result<std::optional<SlurmTask>> slurm_task(Settings& settings) {
  if (!settings.is_on("slurm")) {
    if (settings.given("token-file")) return wrong_usage("--token-file is for --slurm");
    return std::optional<SlurmTask>();
  }
  SlurmTask task;
  task.number = number("SLURM_PROCID", -1);
  if (task.number < 0) {
    return wrong_usage(
        "--slurm needs SLURM_PROCID: start it with 'srun troupe start --slurm "
        "--token-file FILE'");
  }
  if (!settings.given("token-file")) {
    return wrong_usage("--slurm needs --token-file FILE, a path that every task can read");
  }
  if (settings.given("join") || settings.given("join-file") || settings.is_on("head")) {
    return wrong_usage("--slurm decides which task is the head: leave out --head and --join");
  }
  task.id =
      std::to_string(number("SLURM_JOB_ID", 0)) + "." + std::to_string(number("SLURM_STEP_ID", 0));
  task.token_file = std::filesystem::absolute(settings.text("token-file")).string();
  const std::string from = "Slurm task " + std::to_string(task.number);
  settings.set("home",
               settings.text("home") + "/slurm/" + task.id + "." + std::to_string(task.number),
               from);
  net::Endpoint listen{"0.0.0.0", kFirstPort};
  if (settings.given("listen")) {
    TROUPE_ASSIGN_OR_RETURN(listen, net::parse_endpoint(settings.text("listen")));
  }
  listen.port = static_cast<std::uint16_t>(
      std::min(65535, listen.port + kPortsATask * number("SLURM_LOCALID", 0)));
  if (listen.host == "0.0.0.0")
    listen.host = own_address(slurm_variable("SLURM_LAUNCH_NODE_IPADDR"));
  settings.set("listen", net::to_string(listen), from);
  const std::string machine = slurm_variable("SLURMD_NODENAME");
  if (!settings.given("name") && !machine.empty()) settings.set("name", machine, from);
  if (task.number == 0) settings.set("head", "true", from);
  return std::optional<SlurmTask>(std::move(task));
}

Status await_token(const SlurmTask& task, Settings& settings) {
  if (task.number == 0) return Status::ok();
  const auto until = std::chrono::steady_clock::now() + kPatience;
  std::string trouble = "it is not there";
  while (std::chrono::steady_clock::now() < until) {
    // The secret that lets others into the cluster must be readable only by us.
    const auto content = read_private_file(task.token_file, kTokenFileBytesMax);
    if (content.code() == Code::kPermissionDenied) {
      return content.status().with_context("the token file cannot be trusted");
    }
    if (content) {
      if (const auto join = join_in(*content, task.id)) {
        settings.set("join", *join, task.token_file);
        return Status::ok();
      }
      trouble = "it belongs to another job";
    }
    std::this_thread::sleep_for(100ms);
  }
  return Status(Code::kDeadlineExceeded, "the head, task 0, has not written the token file " +
                                             task.token_file + " within 120 s (" + trouble +
                                             "); look at its output, and whether the file's "
                                             "folder is shared between the machines");
}

Status write_token(const SlurmTask& task, const std::filesystem::path& home,
                   const std::string& join_address) {
  // A person who may write to the folder could make us write elsewhere.
  if (std::filesystem::is_symlink(std::filesystem::symlink_status(task.token_file))) {
    return Status(Code::kPermissionDenied,
                  "the token file " + task.token_file +
                      " is a link; remove it, or choose another --token-file in a folder of yours");
  }
  // The token may be used by as many machines as a job may have; it ends with the cluster.
  constexpr int kMachinesMax = 1000;
  TROUPE_ASSIGN_OR_RETURN(const std::string address, daemon_address(home.string()));
  TROUPE_ASSIGN_OR_RETURN(Cluster head, Cluster::connect({home.string(), address}));
  TROUPE_ASSIGN_OR_RETURN(const NewToken clients, head.new_token({"operator", kMachinesMax, 0}));
  return write_file_atomically(task.token_file,
                               task.id + " " + join_address + " " + clients.token + "\n", 0600);
}

void remove_token(const SlurmTask& task) {
  const auto content = read_file(task.token_file, kTokenFileBytesMax);
  std::error_code error;
  if (content && join_in(*content, task.id)) std::filesystem::remove(task.token_file, error);
}

}  // namespace troupe::tools
