#include <algorithm>
#include <ctime>

#include <nlohmann/json.hpp>

#include <troupe/actors/coordinator/client_records.h>
#include <troupe/actors/coordinator/deploy.h>
#include <troupe/actors/coordinator/draining.h>
#include <troupe/actors/coordinator/key_admin.h>
#include <troupe/actors/coordinator/peers.h>
#include <troupe/actors/coordinator/recovery.h>
#include <troupe/actors/messages/rights.h>
#include <troupe/runtime/clock.h>

namespace troupe::actors::coordinator {
namespace {

using nlohmann::json;

// A node whose key is revoked gets this long to receive the message; then its frames are dropped.
constexpr std::int64_t kHearUs = 100'000;
constexpr std::size_t kEventsShown = 200;

std::string text_of(const json& object) {
  return object.dump(-1, ' ', false, json::error_handler_t::replace);
}

// True if `subject` is one of the texts by which people name the model: its name, its id, or the
// hash of a file that lies here.
bool is_called(const HeadState& head, const model::Manifest& manifest, const std::string& subject) {
  if (subject == manifest.name || subject == "model:" + manifest.model) return true;
  const auto& store = head.setup->store;
  const std::string sha256 = store ? store->file_sha256(manifest.model) : "";
  return !sha256.empty() && subject == "sha256:" + sha256;
}

Result<json> unload(HeadState& head, const Manage& ask) {
  std::vector<std::uint64_t> ids;
  std::string name, model;
  std::uint64_t under_way = 0;
  for (const auto& [id, deployment] : head.cluster.deployments.all()) {
    if (!is_called(head, deployment.manifest, ask.subject)) continue;
    ids.push_back(id);
    name = deployment.manifest.name;
    model = deployment.manifest.model;
    const auto run = head.runs.find(id);
    if (run == head.runs.end()) continue;
    // Openings wait if the deployment is being loaded or placed again.
    under_way += run->second.waiting.size();
    const auto& engine = run->second.engine;
    if (engine && !engine->idle())
      under_way += engine->counters->running + engine->counters->queued;
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
    end_deployment(head, id, Status(Code::kCancelled, "the model was unloaded (troupe unload)"));
  }
  return json{{"unloaded", name},
              {"model_id", model},
              {"sha256", head.setup->store ? head.setup->store->file_sha256(model) : ""},
              {"deployments", ids.size()}};
}

// Lists only the last events, because all that are kept may not fit into a frame.
json list_events(const EventLog& log) {
  const auto& events = log.all();
  json list = json::array();
  for (std::size_t i = events.size() - std::min(events.size(), kEventsShown); i < events.size();
       ++i)
    list.push_back({{"unix_ms", events[i].unix_ms},
                    {"event", events[i].kind},
                    {"subject", events[i].subject},
                    {"text", events[i].text}});
  return {{"events", list}};
}

Result<json> new_token(HeadState& head, const Manage& ask) {
  TokenRequest request;
  request.role = static_cast<net::Role>(ask.role);
  request.uses = ask.uses;
  request.lifetime_s =
      static_cast<std::int64_t>(std::min<std::uint64_t>(ask.lifetime_s, 1'000'000'000));
  TROUPE_ASSIGN_OR_RETURN(const TokenRecord made,
                          head.setup->admission->make_token(request, std::time(nullptr)));
  head.setup->link->transport()->allow(made.key, net::Role::kEnrol);
  json out = {{"id", made.id},
              {"token", net::to_text(*made.token) + "@" + net::to_string(head.setup->advertise)},
              {"role", net::role_name(made.role)},
              {"uses", made.uses_left},
              {"expires_unix_s", nullptr}};
  if (made.expires_unix_s != 0) out["expires_unix_s"] = made.expires_unix_s;
  return out;
}

json list_keys(HeadState& head) {
  const std::int64_t now = std::time(nullptr);
  const Admission& admission = *head.setup->admission;
  json out = {
      {"cluster", admission.cluster_name()}, {"tokens", json::array()}, {"members", json::array()}};
  for (const TokenRecord& record : admission.tokens()) {
    json token = {{"id", record.id},
                  {"role", net::role_name(record.role)},
                  {"uses_left", record.uses_left},
                  {"expires_in_s", nullptr},
                  {"usable", record.usable(now)},
                  {"join", record.id == admission.join_token().id}};
    if (record.expires_unix_s != 0) token["expires_in_s"] = record.expires_unix_s - now;
    out["tokens"].push_back(std::move(token));
  }
  const NodeRecord* own = head.cluster.members.find(head.own_key());
  out["members"].push_back({{"id", net::key_id(head.own_key())},
                            {"role", "head"},
                            {"name", own != nullptr ? own->name : ""},
                            {"state", "ready"},
                            {"token", ""}});
  for (const MemberRecord& member : admission.members()) {
    if (net::is_client(member.role)) {
      const bool here = !head.owners->connections_of(member.key).empty();
      out["members"].push_back({{"id", member.id},
                                {"role", net::role_name(member.role)},
                                {"name", member.name},
                                {"state", member.revoked ? "revoked"
                                          : here         ? "ready"
                                                         : "away"},
                                {"token", member.token}});
      continue;
    }
    const NodeRecord* node = head.cluster.members.find(member.key);
    out["members"].push_back({{"id", member.id},
                              {"role", "node"},
                              {"name", node != nullptr ? node->name : member.name},
                              {"state", member.revoked    ? "revoked"
                                        : node != nullptr ? life_name(node->life)
                                                          : "away"},
                              {"token", member.token}});
  }
  for (const WaitingRecord& newcomer : admission.waiting()) {
    out["members"].push_back({{"id", newcomer.id},
                              {"role", net::role_name(newcomer.role)},
                              {"name", newcomer.name},
                              {"state", newcomer.approved ? "approved" : "waits for approval"},
                              {"token", newcomer.token}});
  }
  for (const auto& [key, client] : head.clients) {
    if (!client.local) continue;
    out["members"].push_back({{"id", net::key_id(key)},
                              {"role", "admin"},
                              {"name", "a client of this user"},
                              {"state", "ready"},
                              {"token", "local"}});
  }
  return out;
}

Result<json> revoke(HeadState& head, const Manage& ask) {
  TROUPE_ASSIGN_OR_RETURN(const Revoked revoked, head.setup->admission->revoke(ask.subject));
  log(LogLevel::kWarning, "revoked " + net::key_id(revoked.key) + ": " + revoked.text);
  if (!revoked.member || net::is_client(*revoked.member)) {
    head.setup->link->transport()->revoke(revoked.key);
    for (const net::PublicKey& key : head.owners->connections_of(revoked.key)) {
      forget_client(head, key);
    }
    return json{{"revoked", net::key_id(revoked.key)}, {"text", revoked.text}};
  }
  send_revoked(head, revoked.key);
  head.revoking[revoked.key] = monotonic_us() + kHearUs;
  for (const NodeRecord* node : head.cluster.members.all()) {
    if (node->alive() && node->key != head.own_key() && node->key != revoked.key) {
      send(head, node->key, MessageType::kForgetPeers, ForgetPeers{{revoked.key}});
    }
  }
  if (head.cluster.members.leave(revoked.key, NodeLife::kLeft)) {
    lose_node(head, revoked.key, "its key was revoked", false);
  }
  return json{{"revoked", net::key_id(revoked.key)}, {"text", revoked.text}};
}

Result<json> approve(HeadState& head, const Manage& ask) {
  TROUPE_ASSIGN_OR_RETURN(const WaitingRecord approved,
                          head.setup->admission->approve(ask.subject));
  return json{{"approved", approved.id},
              {"text", std::string(net::role_name(approved.role)) + " " +
                           (approved.name.empty() ? approved.id : approved.name) +
                           " is let in when it comes again"}};
}

Result<json> answer(HeadState& head, const Manage& ask, net::Role role) {
  const auto kind = static_cast<ManageKind>(ask.kind);
  if (reach_of(kind, role) != Reach::kAll) {
    return Status(
        Code::kPermissionDenied,
        std::string("a client of the role '") + net::role_name(role) +
            "' may not do this: an operator or an admin unloads models, drains nodes and "
            "stops the cluster, and an admin manages keys, as do clients of the head's user on the "
            "head's machine");
  }
  if (kind == ManageKind::kUnload) return unload(head, ask);
  // The caller ends the cluster once the answer is sent.
  if (kind == ManageKind::kStop) return json{{"stopping", true}};
  if (kind == ManageKind::kDrain) return drain(head, ask);
  if (kind == ManageKind::kEvents) return list_events(head.events);
  if (!head.setup->admission) {
    return Status(Code::kFailedPrecondition,
                  "this process is not a cluster and has no keys; start one with 'troupe start'");
  }
  switch (kind) {
    case ManageKind::kKeyNew:
      return new_token(head, ask);
    case ManageKind::kKeyList:
      return list_keys(head);
    case ManageKind::kKeyRevoke:
      return revoke(head, ask);
    case ManageKind::kKeyApprove:
      return approve(head, ask);
    default:
      return Status(
          Code::kInvalidArgument,
          "the head does not know this request; run the same release of Troupe everywhere");
  }
}

}  // namespace

namespace {

// Records what an administrator did, or was refused.
void audit_managed(HeadState& head, const Manage& ask, const Asking& asking,
                   const Result<json>& result) {
  const auto write = [&](AuditKind kind, std::string subject, std::string text = "") {
    audit(head, kind, audit_entry(head, asking, std::move(subject), std::move(text)));
  };
  if (result.code() == Code::kPermissionDenied) {
    return write(AuditKind::kRefused, ask.subject, result.message());
  }
  if (!result) return;
  const json& done = *result;
  switch (static_cast<ManageKind>(ask.kind)) {
    case ManageKind::kUnload:
      return write(AuditKind::kUnloaded, done.value("unloaded", ""));
    case ManageKind::kKeyNew:
      return write(AuditKind::kTokenMade, done.value("id", ""),
                   "for the role " + done.value("role", "") + ", uses " +
                       std::to_string(done.value("uses", 0)));
    case ManageKind::kKeyRevoke:
      return write(AuditKind::kRevoked, done.value("revoked", ""), done.value("text", ""));
    case ManageKind::kStop:
      return write(AuditKind::kStopped, ask.force ? "the cluster" : "the head");
    case ManageKind::kDrain:
      return write(AuditKind::kDrained, done.value("node", ""),
                   ask.force ? "it gets layers again" : "");
    case ManageKind::kKeyApprove:
      return write(AuditKind::kApproved, done.value("approved", ""), done.value("text", ""));
    case ManageKind::kKeyList:
    case ManageKind::kEvents:
      return;
  }
}

}  // namespace

Managed manage(HeadState& head, const Manage& ask, const Asking& asking) {
  const Result<json> result = answer(head, ask, asking.role);
  audit_managed(head, ask, asking, result);
  Managed managed;
  managed.request = ask.request;
  managed.outcome = result.status();
  if (result) managed.outcome.text = text_of(*result);
  return managed;
}

void end_tokens(HeadState& head) {
  if (!head.setup->admission) return;
  for (const net::PublicKey& key : head.setup->admission->end_tokens(std::time(nullptr))) {
    log(LogLevel::kInfo, "token " + net::key_id(key) + " has ended");
    AuditEntry ended;
    ended.token = net::key_id(key);
    audit(head, AuditKind::kTokenEnded, ended);
    head.setup->link->transport()->revoke(key);
  }
}

void send_revoked(const HeadState& head, const net::PublicKey& key) {
  const Refused refused{
      Status(Code::kPermissionDenied,
             "this node was removed from the cluster: its key was revoked (troupe key revoke); a "
             "new --home and a token that still holds make it a new member"),
      false};
  const Status sent = head.setup->link->send(key, MessageType::kRefused, refused);
  if (!sent) log(LogLevel::kInfo, "cannot tell a node that it was revoked: " + sent.message());
}

void drop_revoked(HeadState& head, std::int64_t now_us) {
  for (auto it = head.revoking.begin(); it != head.revoking.end();) {
    if (now_us < it->second) {
      ++it;
      continue;
    }
    head.setup->link->transport()->revoke(it->first);
    it = head.revoking.erase(it);
  }
}

}  // namespace troupe::actors::coordinator
