#include <algorithm>
#include <cstdlib>

#include <nlohmann/json.hpp>

#include <troupe/actors/coordinator/status_json.h>
#include <troupe/runtime/version.h>

namespace troupe::actors {
namespace {

using nlohmann::json;

// A clock that differs by more is reported. Heartbeats arrive within a second, and clocks that NTP
// sets differ by less than that.
constexpr std::int64_t kClockMsMax = 30'000;

// Returns the layers of every stage that a node holds or will hold, such as "0-9", or "0-9,0-29"
// with two models.
std::string layers_of(const ClusterState& cluster, const net::PublicKey& node) {
  std::string text;
  for (const auto& [epoch, deployment] : cluster.deployments.all()) {
    for (const StagePlan& stage : deployment.stages) {
      if (stage.node != node) continue;
      text += (text.empty() ? "" : ",") + model::to_string(stage.layers);
    }
  }
  return text;
}

// Returns what people should know about a node: its machine, its clock, its program.
std::vector<std::string> troubles_of(const NodeRecord& node) {
  std::vector<std::string> out = node.troubles;
  if (std::abs(node.clock_ahead_ms) > kClockMsMax) {
    out.push_back("its clock is " + std::to_string(std::abs(node.clock_ahead_ms) / 1000) + " s " +
                  (node.clock_ahead_ms > 0 ? "ahead of" : "behind") +
                  " the head's, and tokens expire by the head's: let NTP set both (timedatectl "
                  "set-ntp true)");
  }
  if (node.program != program_version()) {
    out.push_back("it runs Troupe " +
                  (node.program.empty() ? "of an unknown version" : node.program) + ", the head " +
                  program_version() +
                  ": they understand each other, but install one "
                  "version everywhere");
  }
  return out;
}

json node_json(const ClusterState& cluster, const NodeRecord& node) {
  return {{"name", node.name},
          {"address", node.host.empty() ? "" : net::to_string({node.host, node.port})},
          {"state", node.state()},
          {"trouble", node.alive() ? node.unreachable : ""},
          {"troubles", node.alive() ? troubles_of(node) : std::vector<std::string>()},
          {"program", node.program},
          {"layers", node.alive() ? layers_of(cluster, node.key) : ""},
          {"weights_bytes", node.stats.weights_bytes},
          {"kv_bytes", node.stats.kv_bytes},
          {"threads", node.threads},
          {"isa", node.isa},
          {"works", node.works},
          {"memory_bytes", node.memory_bytes},
          {"hidden_bytes_out", node.stats.hidden_bytes_out},
          {"positions_out", node.stats.positions_out},
          {"steps", node.stats.steps},
          {"positions", node.stats.positions},
          {"resident_bytes_max", node.stats.resident_bytes_max},
          {"weights_fetched_bytes", node.stats.bulk_bytes_in},
          {"copied_bytes", node.copied_bytes},
          {"stale_frames", node.stats.stale_frames},
          {"refused_frames", node.stats.refused_frames},
          {"damaged_frames", node.stats.damaged_frames},
          {"refused_peers", node.stats.refused_peers},
          {"frames_in", node.stats.frames_in},
          {"frames_out", node.stats.frames_out},
          {"bytes_in", node.stats.bytes_in},
          {"bytes_out", node.stats.bytes_out}};
}

// Lists only the client's own askers. An owner is "IDENTITY\nASKER".
json askers_json(const std::vector<NamedUse>& askers, const std::string& client) {
  json out = json::array();
  const std::string prefix = client + "\n";
  for (const NamedUse& one : askers) {
    if (!one.owner.starts_with(prefix)) continue;
    out.push_back({{"asker", one.owner.substr(prefix.size())},
                   {"blocks_in_use", one.use.blocks_in_use},
                   {"blocks_idle", one.use.blocks_idle},
                   {"prefix_queried", one.use.prefix_queried},
                   {"prefix_found", one.use.prefix_found},
                   {"preemptions", one.use.preemptions},
                   {"drafted", one.use.drafted},
                   {"accepted", one.use.accepted}});
  }
  return out;
}

json deployment_json(const ClusterState& cluster, const Deployment& deployment,
                     const CoordinatorSetup& setup, const DeploymentUse& use,
                     const std::string& client) {
  json stages = json::array();
  for (const StagePlan& stage : deployment.stages) {
    const NodeRecord* node = cluster.members.find(stage.node);
    stages.push_back({{"node", node != nullptr ? node->name : "?"},
                      {"layers", model::to_string(stage.layers)},
                      {"disks", cluster.disks.copies_min(cluster.members, deployment.manifest.model,
                                                         stage.layers)},
                      {"weights_bytes", stage.weights_bytes}});
  }
  const auto alike = cluster.deployments.replicas(deployment);
  const auto replica = std::find(alike.begin(), alike.end(), deployment.id);
  const auto kv_type = kv_type_of(deployment.kv);
  json out = {{"model", deployment.manifest.name},
              {"model_id", deployment.manifest.model},
              {"sha256", setup.store ? setup.store->file_sha256(deployment.manifest.model) : ""},
              {"id", deployment.id},
              {"epoch", deployment.epoch},
              {"state", life_name(deployment.life)},
              {"replica", replica != alike.begin()},
              {"kv", nullptr},  // null means the model's own type
              {"activations", f16_activations_of(deployment.kv) ? "f16" : "f32"},
              {"stages", stages},
              {"busy", use.busy},
              {"running", use.running},
              {"queued", use.queued},
              {"requests", use.requests},
              {"tokens", use.tokens},
              {"credits", use.credits},
              {"credits_in_use", use.credits_in_use},
              {"blocks_in_use", use.blocks_in_use},
              {"blocks_idle", use.blocks_idle},
              {"blocks_max", use.blocks_max},
              {"prefix_queried", use.prefix_queried},
              {"prefix_found", use.prefix_found},
              {"preemptions", use.preemptions},
              {"drafted", use.drafted},
              {"accepted", use.accepted},
              {"askers", askers_json(use.askers, client)},
              {"keep_alive_s", nullptr},  // null means forever
              {"unload_in_s", nullptr}};  // null while it works, or if it stays forever
  if (kv_type) out["kv"] = *kv_type == kernels::KvType::kF16 ? "f16" : "f32";
  if (setup.keep_alive_us) out["keep_alive_s"] = *setup.keep_alive_us / 1'000'000;
  if (use.left_s) out["unload_in_s"] = *use.left_s;
  return out;
}

}  // namespace

std::string status_json(const ClusterState& cluster, const CoordinatorSetup& setup,
                        const LinkCounters& counters,
                        const std::map<std::uint64_t, DeploymentUse>& uses,
                        const RecoveryCounters& recovery, const std::string& client) {
  json out;
  out["role"] = setup.role;
  out["cluster"] = setup.admission ? setup.admission->cluster_name() : "";
  out["nodes"] = json::array();
  for (const NodeRecord* node : cluster.members.all())
    out["nodes"].push_back(node_json(cluster, *node));
  out["deployments"] = json::array();
  for (const auto& [epoch, deployment] : cluster.deployments.all()) {
    const auto use = uses.find(epoch);
    out["deployments"].push_back(deployment_json(
        cluster, deployment, setup, use != uses.end() ? use->second : DeploymentUse{}, client));
  }
  const net::Counters& t = counters.transport;
  out["counters"] = {{"frames_in", t.frames_in},
                     {"frames_out", t.frames_out},
                     {"bytes_in", t.bytes_in},
                     {"bytes_out", t.bytes_out},
                     {"rejected_header", t.rejected_header},
                     {"rejected_checksum", t.rejected_checksum},
                     {"rejected_sequence", t.rejected_sequence},
                     {"rejected_cluster", t.rejected_cluster},
                     {"rejected_revoked", t.rejected_revoked},
                     {"rejected_version", t.rejected_version},
                     {"refused_keys", t.refused_keys},
                     {"closed_unproven", t.closed_unproven},
                     {"send_overflow", t.send_overflow},
                     {"replacements", recovery.replacements},
                     {"replays", recovery.replays},
                     {"replayed_tokens", recovery.replayed_tokens},
                     {"quarantined", recovery.quarantined},
                     {"stale_frames", counters.stale_frames},
                     {"wrong_role_frames", counters.wrong_role_frames},
                     {"unknown_frames", counters.unknown_frames},
                     {"undecodable_frames", counters.undecodable_frames}};
  for (const auto channel :
       {net::Channel::kControl, net::Channel::kActivations, net::Channel::kBulk}) {
    const auto i = static_cast<std::size_t>(channel);
    out["counters"]["channels"][net::channel_name(channel)] = {{"frames_in", t.in[i].frames},
                                                               {"frames_out", t.out[i].frames},
                                                               {"bytes_in", t.in[i].bytes},
                                                               {"bytes_out", t.out[i].bytes}};
  }
  // File names come from clients and may hold any byte.
  return out.dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace troupe::actors
