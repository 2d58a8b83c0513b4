#include <ctime>

#include <nlohmann/json.hpp>

#include <troupe/actors/coordinator/shell.h>

// What clients ask for that is not a prompt: models unloaded, keys made, listed and revoked.

namespace troupe::actors::coordinator {
namespace {

using nlohmann::json;

// A node that was told that it is revoked gets so long to hear it, then its frames are dropped.
constexpr std::int64_t kHearUs = 100'000;

std::string text_of(const json& object) {
  return object.dump(-1, ' ', false, json::error_handler_t::replace);
}

Result<json> unload(Self self, const Setup& setup, const Manage& ask) {
  std::vector<std::uint64_t> ids;
  std::string name, sha256;
  std::uint64_t under_way = 0;
  for (const auto& [id, deployment] : self->state.state->deployments()) {
    if (deployment.manifest.model != ask.subject && deployment.manifest.name != ask.subject) {
      continue;
    }
    ids.push_back(id);
    name = deployment.manifest.name;
    sha256 = deployment.manifest.model;
    // It is being loaded, or placed anew, for those who wait.
    const auto waiting = self->state.waiting.find(id);
    if (waiting != self->state.waiting.end()) under_way += waiting->second.size();
    const auto engine = self->state.engines.find(id);
    if (engine != self->state.engines.end() && !engine->second.idle()) {
      under_way += engine->second.counters->running + engine->second.counters->queued;
    }
  }
  if (ids.empty()) {
    return Status(Code::kNotFound, "the cluster has not loaded '" + ask.subject +
                                       "'; 'troupe ps' shows what it has");
  }
  if (under_way > 0 && !ask.force) {
    return Status(Code::kFailedPrecondition, name + " is in use by " + std::to_string(under_way) +
                                                 " requests; wait, or end them with --force");
  }
  for (const std::uint64_t id : ids) {
    end_deployment(self, setup, id,
                   Status(Code::kCancelled, "the model was unloaded (troupe unload)"));
  }
  return json{{"unloaded", name}, {"sha256", sha256}, {"deployments", ids.size()}};
}

Result<json> new_token(const Setup& setup, const Manage& ask) {
  TokenRequest request;
  request.nodes = ask.nodes;
  request.clients = ask.clients;
  request.uses = ask.uses;
  request.lifetime_s =
      static_cast<std::int64_t>(std::min<std::uint64_t>(ask.lifetime_s, 1'000'000'000));
  TROUPE_ASSIGN_OR_RETURN(const TokenRecord made,
                          setup->admission->make_token(request, std::time(nullptr)));
  setup->link->transport()->allow(made.key, net::Role::kEnrol);
  json out = {{"id", made.id},
              {"token", net::to_text(made.token) + "@" + net::to_string(setup->advertise)},
              {"nodes", made.nodes},
              {"clients", made.clients},
              {"uses", made.uses_left},
              {"expires_unix_s", nullptr}};
  if (made.expires_unix_s != 0) out["expires_unix_s"] = made.expires_unix_s;
  return out;
}

json list_keys(Self self, const Setup& setup) {
  const std::int64_t now = std::time(nullptr);
  const Admission& admission = *setup->admission;
  json out = {
      {"cluster", admission.cluster_name()}, {"tokens", json::array()}, {"members", json::array()}};
  for (const TokenRecord& record : admission.tokens()) {
    json token = {{"id", record.id},
                  {"nodes", record.nodes},
                  {"clients", record.clients},
                  {"uses_left", record.uses_left},
                  {"expires_in_s", nullptr},
                  {"usable", record.usable(now)},
                  {"join", record.id == admission.join_token().id}};
    if (record.expires_unix_s != 0) token["expires_in_s"] = record.expires_unix_s - now;
    out["tokens"].push_back(std::move(token));
  }
  const NodeRecord* head = self->state.state->node(setup->link->self());
  out["members"].push_back({{"id", net::key_id(setup->link->self())},
                            {"role", "head"},
                            {"name", head != nullptr ? head->name : ""},
                            {"state", "ready"},
                            {"token", ""}});
  for (const MemberRecord& member : admission.members()) {
    const NodeRecord* node = self->state.state->node(member.key);
    out["members"].push_back({{"id", member.id},
                              {"role", "node"},
                              {"name", node != nullptr ? node->name : member.name},
                              {"state", member.revoked    ? "revoked"
                                        : node != nullptr ? life_name(node->life)
                                                          : "away"},
                              {"token", member.token}});
  }
  for (const auto& [key, client] : self->state.clients) {
    const bool local = self->state.local_clients.contains(key);
    out["members"].push_back({{"id", net::key_id(key)},
                              {"role", "client"},
                              {"name", local ? "a client of this user" : "a client"},
                              {"state", "ready"},
                              {"token", local ? "local" : ""}});
  }
  return out;
}

Result<json> revoke(Self self, const Setup& setup, const Manage& ask) {
  TROUPE_ASSIGN_OR_RETURN(const Revoked revoked, setup->admission->revoke(ask.subject));
  log(LogLevel::kWarning, "revoked " + net::key_id(revoked.key) + ": " + revoked.text);
  if (!revoked.node) {
    setup->link->transport()->revoke(revoked.key);
    return json{{"revoked", net::key_id(revoked.key)}, {"text", revoked.text}};
  }
  tell_revoked(setup, revoked.key);
  self->state.revoking[revoked.key] = monotonic_us() + kHearUs;
  for (const NodeRecord* node : self->state.state->nodes()) {
    if (node->alive() && node->key != setup->link->self() && node->key != revoked.key) {
      tell(setup, node->key, MessageType::kForgetPeers, ForgetPeers{{revoked.key}});
    }
  }
  if (self->state.state->leave(revoked.key, NodeLife::kLeft)) {
    lose_node(self, setup, revoked.key, "its key was revoked", false);
  }
  return json{{"revoked", net::key_id(revoked.key)}, {"text", revoked.text}};
}

Result<json> answer(Self self, const Setup& setup, const Manage& ask, bool own_user) {
  const auto kind = static_cast<ManageKind>(ask.kind);
  if (kind == ManageKind::kUnload) return unload(self, setup, ask);
  if (!setup->admission) {
    return Status(Code::kFailedPrecondition,
                  "this process is no cluster and has no keys; start one with 'troupe start'");
  }
  if (!own_user) {
    return Status(Code::kPermissionDenied,
                  "keys are managed on the head's machine, by the user who started it");
  }
  switch (kind) {
    case ManageKind::kKeyNew:
      return new_token(setup, ask);
    case ManageKind::kKeyList:
      return list_keys(self, setup);
    case ManageKind::kKeyRevoke:
      return revoke(self, setup, ask);
    default:
      return Status(Code::kInvalidArgument,
                    "the head does not know what it is asked to do; run "
                    "the same release of Troupe everywhere");
  }
}

}  // namespace

Managed manage(Self self, const Setup& setup, const Manage& ask, bool own_user) {
  const Result<json> result = answer(self, setup, ask, own_user);
  Managed managed;
  managed.request = ask.request;
  managed.outcome = result.status();
  if (result) managed.outcome.text = text_of(*result);
  return managed;
}

void tell_revoked(const Setup& setup, const net::PublicKey& key) {
  const Refused refused{
      Status(Code::kPermissionDenied,
             "this node was removed from the cluster: its key was revoked (troupe key revoke); a "
             "new --home and a token that still holds make it a new member"),
      false};
  const Status sent = setup->link->send(key, MessageType::kRefused, refused);
  if (!sent) log(LogLevel::kInfo, "a revoked node does not hear of it: " + sent.message());
}

void drop_revoked(Self self, const Setup& setup, std::int64_t now_us) {
  for (auto it = self->state.revoking.begin(); it != self->state.revoking.end();) {
    if (now_us < it->second) {
      ++it;
      continue;
    }
    setup->link->transport()->revoke(it->first);
    it = self->state.revoking.erase(it);
  }
}

}  // namespace troupe::actors::coordinator
