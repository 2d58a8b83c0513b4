#include <algorithm>
#include <cstdlib>

#include <troupe/runtime/machine/cpu_claim.h>
#include <troupe/runtime/machine/process_memory.h>
#include <troupe/tools/troupe/daemon/daemon_settings.h>
#include <troupe/tools/troupe/daemon/device_nodes.h>
#include <troupe/tools/troupe/daemon/free_ports.h>
#include <troupe/tools/troupe/daemon/join_source.h>
#include <troupe/tools/troupe/daemon/own_address.h>
#include <troupe/tools/troupe/terminal/logging.h>
#include <troupe/tools/troupe/terminal/units.h>

namespace troupe::tools {
namespace {

Status usage(const std::string& message) { return {Code::kInvalidArgument, message}; }

// Returns the error for a wrong value, which is bad data in a file, and wrong usage on the command
// line.
Status wrong_value(const Settings& settings, const std::string& key, const std::string& why) {
  const SettingValue& value = settings.value(key);
  return {value.origin == Origin::kFile ? Code::kBadData : Code::kInvalidArgument,
          value.from + (value.origin == Origin::kFile ? ": " + key : "") + " " + why};
}

Status check_words(const Settings& settings) {
  const bool joins = settings.given("join") || settings.given("join-file");
  if (settings.is_on("head") && joins) {
    return usage("--head makes a new cluster and --join enters one: give only one of them");
  }
  if (settings.is_on("no-work") && joins) {
    return usage("--no-work is for a head; a node that does no work has nothing to do");
  }
  if (settings.is_on("approve") && joins) {
    return usage("--approve is for a head, which lets newcomers in; a node lets nobody in");
  }
  if (const auto shares = share_devices(settings.text("device"), false); !shares) {
    return wrong_value(settings, "device", "is wrong: " + shares.message());
  }
  if (!is_log_level(settings.text("log"))) {
    return wrong_value(
        settings, "log",
        "takes debug, info, warning, error or off, not '" + settings.text("log") + "'");
  }
  return Status::ok();
}

Result<net::Endpoint> endpoint(const Settings& settings, const std::string& key) {
  const auto parsed = net::parse_endpoint(settings.text(key));
  if (!parsed) return wrong_value(settings, key, "takes HOST:PORT: " + parsed.message());
  return *parsed;
}

// Finds the address of the node's head: behind the token of --join, or in what this home remembers.
Result<std::string> head_address(Settings& settings) {
  const std::string& join = settings.text("join");
  if (!join.empty()) {
    const std::size_t at = join.rfind('@');
    if (at == std::string::npos) {
      return wrong_value(settings, "join",
                         "takes TOKEN@HOST:PORT, as the head printed it, not '" + join + "'");
    }
    return join.substr(at + 1);
  }
  if (settings.is_on("head")) return std::string();
  TROUPE_ASSIGN_OR_RETURN(const std::string remembered, joined_head(settings.text("home")));
  if (!remembered.empty()) settings.show_as("join", "@" + remembered, "the cluster of this home");
  return remembered;
}

}  // namespace

Result<DaemonOptions> daemon_options(Settings& settings) {
  TROUPE_RETURN_IF_ERROR(find_join(&settings));
  TROUPE_RETURN_IF_ERROR(check_words(settings));
  DaemonOptions daemon;
  daemon.home = settings.text("home");
  daemon.name = settings.text("name");
  daemon.join = settings.text("join");
  daemon.work = !settings.is_on("no-work");
  daemon.approve = settings.is_on("approve");
  daemon.speculation = !settings.is_on("no-speculation");
  TROUPE_ASSIGN_OR_RETURN(const std::string head, head_address(settings));
  daemon.head = head.empty();
  // An address that was remembered is not passed again as an option.
  if (settings.value("join").origin == Origin::kFallback) daemon.join.clear();
  daemon.threads = std::atoi(settings.text("threads").c_str());
  TROUPE_ASSIGN_OR_RETURN(const DeviceShares shares,
                          share_devices(settings.text("device"), daemon.head));
  if (daemon.approve && !shares.nodes.empty()) {
    return usage(
        "with --approve, every node waits for an admin, and the node of a GPU beside the head must "
        "not; start it as a node with a home of its own (troupe start --join ... --device " +
        shares.nodes.front() + "), and approve it");
  }
  daemon.device = shares.own;
  if (!shares.works) daemon.work = false;
  if (settings.given("memory")) {
    TROUPE_ASSIGN_OR_RETURN(daemon.memory_bytes, parse_bytes(settings.text("memory")));
  }
  TROUPE_ASSIGN_OR_RETURN(daemon.keep_alive_s, parse_duration(settings.text("keep-alive"), true));
  if (settings.given("listen")) {
    TROUPE_ASSIGN_OR_RETURN(daemon.listen, endpoint(settings, "listen"));
  } else if (!head.empty()) {
    TROUPE_ASSIGN_OR_RETURN(const net::Endpoint peer, net::parse_endpoint(head));
    if (auto own = own_address_towards(peer)) daemon.listen.host = *own;
    // A head keeps its port, because others know it; a node reports its own.
    const auto free = first_free_ports(daemon.listen.host, daemon.listen.port, net::kChannels);
    if (free) daemon.listen.port = *free;
  }
  if (settings.given("advertise")) {
    TROUPE_ASSIGN_OR_RETURN(daemon.advertise, endpoint(settings, "advertise"));
  }
  const auto computed = [&](const char* key, const std::string& text) {
    if (!settings.given(key)) settings.show_as(key, text, "default");
  };
  computed("head", daemon.head ? "true" : "false");
  computed("listen", net::to_string(daemon.listen));
  computed("advertise", net::to_string(daemon.advertise.value_or(daemon.listen)));
  computed("threads", std::to_string(usable_cpus()));
  computed("memory", format_binary_bytes(offered_memory()));
  return daemon;
}

}  // namespace troupe::tools
