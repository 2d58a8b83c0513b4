#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <vector>

#include <nlohmann/json.hpp>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <troupe/actors/troupe.h>
#include <troupe/runtime/cuda/cuda.h>
#include <troupe/runtime/kernels/kernels.h>
#include <troupe/runtime/machine/cgroup.h>
#include <troupe/runtime/machine/cpu_claim.h>
#include <troupe/runtime/machine/headroom.h>
#include <troupe/runtime/machine/process_memory.h>
#include <troupe/tools/troupe/options.h>
#include <troupe/tools/troupe/terminal/logging.h>
#include <troupe/tools/troupe/terminal/output.h>
#include <troupe/tools/troupe/verbs.h>
#include <troupe/tools/troupe/verbs/machine.h>

namespace troupe::tools {
namespace {

namespace fs = std::filesystem;

constexpr std::uint16_t kFirstPort = 7700;

// The result of one check: a line for people, a member for scripts, and what to do.
struct Finding {
  const char* key;  // null if this is further advice on the previous finding
  nlohmann::json value;
  std::string text;
  std::string advice;  // "" if all is well
};

Finding cpu() {
  const std::string name = cpu_model();
  const int usable = usable_cpus();
  return {"cpu",
          {{"model", name}, {"usable", usable}},
          name + ", " + std::to_string(usable) + " usable CPUs",
          ""};
}

Finding isa() {
  nlohmann::json names = nlohmann::json::array();
  std::string text;
  for (const kernels::Isa each :
       {kernels::Isa::kScalar, kernels::Isa::kAvx2, kernels::Isa::kAvx512}) {
    if (!kernels::isa_supported(each)) continue;
    names.push_back(std::string(kernels::isa_name(each)));
    text += (text.empty() ? "" : ", ") + std::string(kernels::isa_name(each));
  }
  const Result<kernels::Isa> chosen = kernels::choose_isa();
  const std::string choice = chosen ? std::string(kernels::isa_name(*chosen)) : "none";
  return {"isa",
          {{"supported", names}, {"chosen", choice}},
          text + "; " + choice + " is used",
          !chosen              ? chosen.message()
          : choice == "scalar" ? "no vector kernels are used: answers are right, but slow"
                               : ""};
}

Finding memory_size() {
  const MachineMemory found = machine_memory();
  const CgroupLimits limits = cgroup_limits();
  nlohmann::json value = {{"total_bytes", found.total_bytes},
                          {"available_bytes", found.available_bytes},
                          {"offered_bytes", offered_memory()},
                          {"cgroup_bytes", nullptr},
                          {"cgroup_cpus", nullptr}};
  std::string text = format_bytes(found.available_bytes) + " free of " +
                     format_bytes(found.total_bytes) + "; control group: ";
  if (limits.memory_bytes) value["cgroup_bytes"] = *limits.memory_bytes;
  if (limits.cpus) value["cgroup_cpus"] = *limits.cpus;
  text += (limits.memory_bytes ? format_bytes(*limits.memory_bytes) : "no memory limit") + ", " +
          (limits.cpus ? format_number(*limits.cpus, 2) + " CPUs" : "no CPU limit") +
          "; a node offers " + format_bytes(offered_memory());
  const double granted = limits.cpus.value_or(usable_cpus());
  return {"memory", value, text,
          granted >= usable_cpus()
              ? ""
              : "the control group grants " + format_number(granted, 2) + " of the " +
                    std::to_string(usable_cpus()) +
                    " CPUs: more threads than that wait for each other; give --threads " +
                    std::to_string(std::max(1, static_cast<int>(granted)))};
}

Finding gpu() {
  nlohmann::json list = nlohmann::json::array();
  std::string text;
  for (const Gpu& one : gpus()) {
    nlohmann::json entry = {{"name", one.name}, {"memory_bytes", nullptr}};
    if (one.memory_bytes) entry["memory_bytes"] = *one.memory_bytes;
    list.push_back(entry);
    text += (text.empty() ? "" : ", ") + one.name +
            (one.memory_bytes ? " with " + format_bytes(*one.memory_bytes) : "");
  }
  const std::string driver = gpu_driver();
  text = text.empty() ? "none of NVIDIA's" : text;
  if (!driver.empty()) text += ", driver " + driver;
  const cuda::Report report = cuda::report();
  nlohmann::json usable = nlohmann::json::array();
  for (const cuda::CardReport& card : report.cards) {
    usable.push_back({{"name", card.name},
                      {"architecture", card.architecture},
                      {"memory_bytes", card.memory_bytes},
                      {"processors", card.processors}});
    text += "; cuda:" + std::to_string(usable.size() - 1) + " is " + card.name + " (" +
            card.architecture + ", " + format_bytes(card.memory_bytes) + ")";
  }
  text += report.usable.is_ok() ? "; CUDA " + report.runtime + " on a driver for " + report.driver
                                : "; CUDA is off: " + report.usable.message();
  return {
      "gpu",
      {{"devices", list},
       {"driver", driver.empty() ? nlohmann::json() : nlohmann::json(driver)},
       {"cuda",
        {{"usable", usable},
         {"runtime", report.runtime.empty() ? nlohmann::json() : nlohmann::json(report.runtime)},
         {"why_off",
          report.usable.is_ok() ? nlohmann::json() : nlohmann::json(report.usable.message())}}}},
      text,
      driver.empty() || !list.empty()
          ? ""
          : "NVIDIA's driver is here and names no GPU: does nvidia-smi work?"};
}

Finding huge_page_use() {
  const HugePages pages = huge_pages();
  const bool absent = pages.transparent.empty();
  return {"huge_pages",
          {{"transparent", absent ? nlohmann::json() : nlohmann::json(pages.transparent)},
           {"page_bytes", pages.page_bytes},
           {"reserved", pages.reserved},
           {"reserved_free", pages.reserved_free}},
          (absent ? "no transparent ones" : "transparent: " + pages.transparent) + "; " +
              std::to_string(pages.reserved) + " reserved of " + format_bytes(pages.page_bytes),
          pages.transparent == "never"
              ? "weights would be read faster from huge pages: echo madvise > "
                "/sys/kernel/mm/transparent_hugepage/enabled"
              : ""};
}

Finding bandwidth() {
  const double measured = measure_memory_bandwidth(usable_cpus());
  return {"memory_bandwidth_bytes_s", measured,
          format_bytes(static_cast<std::uint64_t>(measured)) +
              "/s read by all usable CPUs (a bound "
              "on decoding: bytes of weights per "
              "token)",
          ""};
}

Finding home(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) {
    return {"home",
            {{"path", path}, {"exists", false}},
            path + " (not there yet: the first use makes it)",
            ""};
  }
  char mode[8];
  std::snprintf(mode, sizeof mode, "%04o", info.st_mode & 07777u);
  std::error_code error;
  const fs::space_info space = fs::space(path, error);
  const std::uint64_t free = error ? 0 : space.available;
  std::string advice;
  if (!S_ISDIR(info.st_mode)) {
    advice = path + " is not a folder: choose another with --home or TROUPE_HOME";
  } else if (::access(path.c_str(), W_OK | X_OK) != 0) {
    advice = "this user cannot write into " + path + ": change its owner, or choose another home";
  } else if ((info.st_mode & 0022u) != 0) {
    advice = "others can write into " + path + ": chmod go-w " + path;
  } else if (free < (1u << 30)) {
    advice = "less than 1 GB is free below " + path + ": models need room";
  }
  return {"home",
          {{"path", path}, {"exists", true}, {"mode", mode}, {"free_bytes", free}},
          path + ", mode " + mode + ", " + format_bytes(free) + " free",
          advice};
}

Finding ports() {
  nlohmann::json taken = nlohmann::json::array();
  for (std::uint16_t port = kFirstPort; port < kFirstPort + 3; ++port) {
    if (!port_is_free(port)) taken.push_back(port);
  }
  const bool free = taken.empty();
  return {"ports",
          {{"wanted", {kFirstPort, kFirstPort + 1, kFirstPort + 2}}, {"taken", taken}},
          free ? "7700, 7701 and 7702 are free" : "in use: " + taken.dump(),
          free ? ""
               : "a daemon runs already, or another program has them: start with --listen "
                 "HOST:PORT and three free ports in a row"};
}

std::string limit_text(const std::optional<std::uint64_t>& limit) {
  return limit ? std::to_string(*limit) : "unlimited";
}

Finding limits() {
  const auto files = soft_limit(RLIMIT_NOFILE), locked = soft_limit(RLIMIT_MEMLOCK);
  const auto space = soft_limit(RLIMIT_AS);
  const Status room =
      check_headroom({usable_cpus() + kProcessHeadroom.threads, kProcessHeadroom.descriptors});
  nlohmann::json value = {{"nofile", nullptr}, {"memlock", nullptr}, {"address_space", nullptr}};
  if (space) value["address_space"] = *space;
  if (files) value["nofile"] = *files;
  if (locked) value["memlock"] = *locked;
  return {"limits", value,
          "open files " + limit_text(files) + ", locked memory " + limit_text(locked) +
              " bytes, address space " + limit_text(space),
          !room                    ? room.message()
          : files && *files < 1024 ? "a head of many nodes needs more open files: ulimit -n 4096"
                                   : ""};
}

Finding programs() {
  const bool python = on_path("python3");
  const bool pip = python && succeeds("python3 -m pip --version");
  return {"python3",
          {{"found", python}, {"pip", pip}},
          !python ? "no python3"
          : pip   ? "with pip"
                  : "without pip",
          pip ? ""
              : "`troupe pull` needs pip for models in Python packages (some of the catalogue's): "
                "apt-get install python3-pip"};
}

Finding daemon(const std::string& given_home) {
  const Result<std::string> address = daemon_address(given_home);
  nlohmann::json value;
  if (address) value = *address;
  return {"daemon", value, address ? "its head is at " + *address : "none runs on this home", ""};
}

// Returns what is wrong with a node, as its cluster knows it: sentences that begin with its name.
std::vector<std::string> troubles_of(const NodeStatus& node) {
  std::vector<std::string> out;
  const std::string name = "node " + node.name + ": ";
  if (!node.trouble.empty()) out.push_back(name + "the head cannot reach it: " + node.trouble);
  for (const std::string& trouble : node.troubles) out.push_back(name + trouble);
  return out;
}

// Checks the cluster to which this home's daemon belongs, if one runs: whether it answers, and what
// is wrong with its nodes. Each trouble is a finding of its own, so that none is cut short.
std::vector<Finding> cluster(const std::string& given_home) {
  const Result<std::string> address = daemon_address(given_home);
  if (!address) return {};
  const auto answer = [&]() -> Result<ClusterStatus> {
    TROUPE_ASSIGN_OR_RETURN(Cluster connected,
                            Cluster::connect({resolve_home(given_home), *address}));
    return connected.status();
  }();
  if (!answer) {
    // A node's user need not be a client of its cluster.
    const bool stranger = answer.code() == Code::kPermissionDenied;
    return {{"cluster",
             {{"answers", false}},
             stranger ? "this user is not a client of it" : "does not answer",
             stranger ? "" : answer.message()}};
  }
  std::vector<std::string> troubles;
  std::size_t alive = 0;
  for (const NodeStatus& node : answer->nodes) {
    if (node.state != "dead" && node.state != "left") ++alive;
    for (std::string& trouble : troubles_of(node)) troubles.push_back(std::move(trouble));
  }
  const std::string size = std::to_string(alive) + (alive == 1 ? " node, " : " nodes, ");
  std::vector<Finding> findings = {{"cluster",
                                    {{"answers", true}, {"nodes", alive}, {"troubles", troubles}},
                                    answer->cluster + ", " + size +
                                        std::to_string(troubles.size()) +
                                        (troubles.size() == 1 ? " trouble" : " troubles"),
                                    ""}};
  for (std::string& trouble : troubles) findings.push_back({nullptr, {}, "", std::move(trouble)});
  return findings;
}

int examine(const CommonOptions& common) {
  set_up_logging(LogLevel::kWarning, common.verbose);
  std::vector<Finding> findings = {cpu(),
                                   isa(),
                                   memory_size(),
                                   bandwidth(),
                                   gpu(),
                                   huge_page_use(),
                                   limits(),
                                   ports(),
                                   home(resolve_home(common.home)),
                                   programs(),
                                   daemon(common.home)};
  for (Finding& finding : cluster(common.home)) findings.push_back(std::move(finding));
  nlohmann::json object = nlohmann::json::object(), missing = nlohmann::json::array();
  for (const Finding& finding : findings) {
    if (!finding.advice.empty()) missing.push_back(finding.advice);
    if (finding.key == nullptr) continue;  // further advice on the previous finding
    object[finding.key] = finding.value;
    if (!common.json) std::printf("%-26s%s\n", finding.key, finding.text.c_str());
  }
  object["missing"] = missing;
  if (common.json) {
    print_json(object);
    return kExitOk;
  }
  if (missing.empty()) std::printf("\nnothing is missing\n");
  for (const nlohmann::json& advice : missing) {
    std::printf("\nto do: %s\n", advice.get<std::string>().c_str());
  }
  return kExitOk;
}

}  // namespace

Action add_doctor(CLI::App& app) {
  auto common = std::make_shared<CommonOptions>();
  add_common_options(app, *common);
  app.footer(
      "Takes about a second, mostly to measure the memory bandwidth. The advice comes last, one\n"
      "line for each thing that is missing.\n"
      "\n"
      "Examples:\n"
      "  troupe doctor\n"
      "  troupe doctor --json      "
      "{\"cpu\",\"isa\",\"memory\",\"memory_bandwidth_bytes_s\",\"gpu\",\n"
      "                            \"huge_pages\",\"limits\",\"ports\",\"home\",\"python3\",\n"
      "                            \"daemon\",\"cluster\",\"missing\":[...]}");
  return [common] { return examine(*common); };
}

}  // namespace troupe::tools
