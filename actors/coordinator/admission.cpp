#include <algorithm>

#include <nlohmann/json.hpp>

#include <troupe/actors/coordinator/admission.h>
#include <troupe/runtime/file.h>
#include <troupe/runtime/text/json_file.h>

namespace troupe::actors {
namespace {

using nlohmann::json;

constexpr std::int64_t kJoinTokenSeconds = 3600;
constexpr std::uint32_t kTokenUses = 1000;
constexpr std::size_t kTokenRecordsMax = 1000;
constexpr std::size_t kFileBytesMax = 4u << 20;

std::array<std::uint8_t, 16> random_seed() {
  std::array<std::uint8_t, 16> seed{};
  for (std::size_t i = 0; i < seed.size(); i += 8) {
    const std::uint64_t word = net::random_u64();
    for (std::size_t j = 0; j < 8; ++j) seed[i + j] = static_cast<std::uint8_t>(word >> (8 * j));
  }
  return seed;
}

void name_token(const net::PublicKey& key, TokenRecord* record) {
  record->key = key;
  record->id = net::key_id(key);
}

TokenRecord fresh_token(std::uint64_t cluster, const net::PublicKey& head, std::int64_t now) {
  TokenRecord record;
  record.token = net::Token{cluster, head, random_seed()};
  record.created_unix_s = now;
  record.expires_unix_s = now + kJoinTokenSeconds;
  record.uses_left = kTokenUses;
  name_token(net::enrolment_key_pair(*record.token).public_key, &record);
  return record;
}

// Makes a name of two words, so that people can tell clusters apart.
std::string cluster_name_of(std::uint64_t cluster) {
  static const char* const kFirst[] = {"amber", "brisk", "calm",  "dusky", "eager", "fresh",
                                       "grand", "happy", "ivory", "jolly", "keen",  "lucid",
                                       "merry", "noble", "quick", "royal"};
  static const char* const kSecond[] = {"ballet", "chorus", "drama",   "encore", "fugue", "guild",
                                        "harp",   "jester", "lyric",   "masque", "opera", "quartet",
                                        "revue",  "sonata", "theatre", "waltz"};
  return std::string(kFirst[cluster % 16]) + "-" + kSecond[(cluster >> 4) % 16];
}

}  // namespace

std::filesystem::path head_file(const std::filesystem::path& home) { return home / "head.json"; }

namespace {

Result<TokenRecord> read_token(const std::filesystem::path& path, const json& object) {
  TokenRecord record;
  std::string text;
  if (!object.is_object()) return bad_field(path, "tokens");
  if (read_field(object, "token_key", &text)) {
    const auto key = net::key_from_z85(text);
    if (!key) return bad_field(path, "token_key");
    name_token(*key, &record);
  } else {  // earlier releases kept the secret itself
    if (!read_field(object, "token", &text)) return bad_field(path, "token");
    const auto parsed = net::parse_token(text);
    if (!parsed) return bad_field(path, "token");
    name_token(net::enrolment_key_pair(*parsed).public_key, &record);
  }
  if (!read_field(object, "token_expires", &record.expires_unix_s) ||
      !read_field(object, "token_uses_left", &record.uses_left)) {
    return bad_field(path, "token_expires");
  }
  // Files of earlier releases lack these fields.
  read_field(object, "token_created", &record.created_unix_s);
  bool nodes = true;
  std::string role;
  if (read_field(object, "token_role", &role)) {
    const auto known = net::token_role(role);
    if (!known) return bad_field(path, "token_role");
    record.role = *known;
  } else if (read_field(object, "token_nodes", &nodes) && !nodes) {
    record.role = net::Role::kClient;
  }
  return record;
}

void write_token(const TokenRecord& record, json* object) {
  (*object)["token_key"] = net::to_z85(record.key);
  (*object)["token_expires"] = record.expires_unix_s;
  (*object)["token_uses_left"] = record.uses_left;
  (*object)["token_created"] = record.created_unix_s;
  (*object)["token_role"] = net::role_name(record.role);
}

// Reads a key: a bare string, as earlier releases wrote it, or an object.
Result<MemberRecord> read_member(const std::filesystem::path& path, const json& entry) {
  MemberRecord member;
  std::string text;
  if (entry.is_string()) {
    text = entry.get<std::string>();
  } else if (!entry.is_object() || !read_field(entry, "key", &text)) {
    return bad_field(path, "nodes");
  } else {
    read_field(entry, "name", &member.name);
    read_field(entry, "token", &member.token);
    read_field(entry, "since", &member.since_unix_s);
    read_field(entry, "revoked", &member.revoked);
    read_field(entry, "drained", &member.drained);
    std::string role;
    if (read_field(entry, "role", &role)) {
      const auto known = net::token_role(role);
      if (!known) return bad_field(path, "role");
      member.role = *known;
    }
  }
  auto key = net::key_from_z85(text);
  if (!key) return bad_field(path, "nodes");
  member.key = *key;
  member.id = net::key_id(member.key);
  return member;
}

// Reads a newcomer that was approved and has not come since.
Result<WaitingRecord> read_approved(const std::filesystem::path& path, const json& entry) {
  TROUPE_ASSIGN_OR_RETURN(const MemberRecord newcomer, read_member(path, entry));
  return WaitingRecord{newcomer.id,    newcomer.key,          newcomer.role, newcomer.name,
                       newcomer.token, newcomer.since_unix_s, true};
}

json list_in(const json& file, const char* field) {
  const auto found = file.find(field);
  return found != file.end() && found->is_array() ? *found : json::array();
}

}  // namespace

Result<Admission> Admission::load_or_make(const std::filesystem::path& home,
                                          const net::PublicKey& head, std::int64_t now_unix_s) {
  Admission admission;
  admission.path_ = head_file(home);
  admission.head_ = head;
  const auto& path = admission.path_;
  if (std::filesystem::exists(path)) {
    TROUPE_ASSIGN_OR_RETURN(const json file, read_json_file(path, kFileBytesMax));
    if (!read_field(file, "cluster", &admission.cluster_)) return bad_field(path, "cluster");
    if (!read_field(file, "name", &admission.name_)) return bad_field(path, "name");
    TROUPE_RETURN_IF_ERROR(admission.read_tokens(file, now_unix_s));
    if (!file.contains("nodes") || !file["nodes"].is_array()) return bad_field(path, "nodes");
    for (const json& entry : file["nodes"]) {
      TROUPE_ASSIGN_OR_RETURN(MemberRecord member, read_member(path, entry));
      admission.members_.push_back(std::move(member));
    }
    for (const json& entry : list_in(file, "clients")) {
      TROUPE_ASSIGN_OR_RETURN(MemberRecord member, read_member(path, entry));
      if (!net::is_client(member.role)) return bad_field(path, "clients");
      admission.members_.push_back(std::move(member));
    }
    for (const json& entry : list_in(file, "approved")) {
      TROUPE_ASSIGN_OR_RETURN(WaitingRecord newcomer, read_approved(path, entry));
      admission.waiting_.push_back(std::move(newcomer));
    }
  } else {
    admission.cluster_ = net::random_u64();
    admission.name_ = cluster_name_of(admission.cluster_);
  }
  admission.tokens_.insert(admission.tokens_.begin(),
                           fresh_token(admission.cluster_, head, now_unix_s));
  admission.renew_local_token(now_unix_s);
  TROUPE_RETURN_IF_ERROR(admission.save());
  return admission;
}

void Admission::renew_local_token(std::int64_t now_unix_s) {
  local_ = fresh_token(cluster_, head_, now_unix_s);
  local_.role = net::Role::kAdmin;
  local_.expires_unix_s = 0;
}

// Reads the tokens of the file, except those that cannot let anybody in any more and those of
// another head's key.
Status Admission::read_tokens(const json& file, std::int64_t now_unix_s) {
  std::string head;
  if (read_field(file, "head", &head) && head != net::to_z85(head_)) return Status::ok();
  json list = list_in(file, "tokens");
  if (file.contains("token")) list.insert(list.begin(), file);  // an earlier release's join token
  for (const json& entry : list) {
    TROUPE_ASSIGN_OR_RETURN(TokenRecord record, read_token(path_, entry));
    if (record.usable(now_unix_s) && tokens_.size() < kTokenRecordsMax)
      tokens_.push_back(std::move(record));
  }
  return Status::ok();
}

Status Admission::save() {
  json file;
  file["cluster"] = cluster_;
  file["name"] = name_;
  file["head"] = net::to_z85(head_);
  file["tokens"] = json::array();
  for (const TokenRecord& record : tokens_) {
    json object;
    write_token(record, &object);
    file["tokens"].push_back(std::move(object));
  }
  file["nodes"] = json::array();
  file["clients"] = json::array();
  for (const MemberRecord& member : members_) {
    json& list = file[net::is_client(member.role) ? "clients" : "nodes"];
    list.push_back({{"key", net::to_z85(member.key)},
                    {"name", member.name},
                    {"role", net::role_name(member.role)},
                    {"token", member.token},
                    {"since", member.since_unix_s},
                    {"revoked", member.revoked},
                    {"drained", member.drained}});
  }
  file["approved"] = json::array();
  for (const WaitingRecord& one : waiting_) {
    if (!one.approved) continue;
    file["approved"].push_back({{"key", net::to_z85(one.key)},
                                {"name", one.name},
                                {"role", net::role_name(one.role)},
                                {"token", one.token},
                                {"since", one.since_unix_s}});
  }
  const Status written = write_file_atomically(
      path_, file.dump(2, ' ', false, json::error_handler_t::replace) + "\n", 0600);
  if (written) {
    saved_tokens_ = tokens_;
    saved_members_ = members_;
    saved_waiting_ = waiting_;
  } else {
    tokens_ = saved_tokens_;
    members_ = saved_members_;
    restore_waiting();
  }
  return written;
}

// Restores the waiting list; newcomers that have asked since then still wait.
void Admission::restore_waiting() {
  std::vector<WaitingRecord> now = std::exchange(waiting_, saved_waiting_);
  for (WaitingRecord& one : now) {
    if (std::any_of(waiting_.begin(), waiting_.end(),
                    [&](const WaitingRecord& other) { return other.key == one.key; })) {
      continue;
    }
    one.approved = false;
    waiting_.push_back(std::move(one));
  }
}

bool Admission::is_revoked(const net::PublicKey& key) const {
  return std::any_of(members_.begin(), members_.end(), [&](const MemberRecord& member) {
    return member.revoked && member.key == key;
  });
}

std::vector<std::pair<net::PublicKey, net::Role>> Admission::allowed() const {
  std::vector<std::pair<net::PublicKey, net::Role>> keys;
  for (const TokenRecord& record : tokens_) {
    if (!record.ended) keys.emplace_back(record.key, net::Role::kEnrol);
  }
  keys.emplace_back(local_.key, net::Role::kEnrol);
  for (const MemberRecord& member : members_) {
    if (member.revoked) continue;
    keys.emplace_back(member.key,
                      net::is_client(member.role) ? net::Role::kEnrol : net::Role::kNode);
  }
  return keys;
}

const MemberRecord* Admission::find_member(const net::PublicKey& key) const {
  const auto found = std::find_if(members_.begin(), members_.end(),
                                  [&](const MemberRecord& member) { return member.key == key; });
  return found == members_.end() ? nullptr : &*found;
}

// Refuses a key that already serves as a token, a member or the head, because it cannot take
// another role.
Status Admission::check_fresh(const net::PublicKey& key) const {
  const bool door = key == local_.key ||
                    std::any_of(tokens_.begin(), tokens_.end(),
                                [&](const TokenRecord& record) { return record.key == key; });
  if (key != head_ && !door && find_member(key) == nullptr) return Status::ok();
  return Status(Code::kPermissionDenied,
                "this key is known in the cluster already and keeps the role that it has; a new "
                "--home makes a new key");
}

Status Admission::check_approved(const WaitingRecord& newcomer) {
  const auto known = std::find_if(waiting_.begin(), waiting_.end(), [&](const WaitingRecord& one) {
    return one.key == newcomer.key;
  });
  const bool approved = known != waiting_.end() && known->approved;
  if (known != waiting_.end()) waiting_.erase(known);
  if (approved || !asks_approval_) return Status::ok();
  waiting_.push_back(newcomer);
  if (waiting_.size() > kWaitingMax) {
    // Approved newcomers stay, however many others ask, unless there are no others to remove.
    const auto oldest = std::find_if(waiting_.begin(), waiting_.end() - 1,
                                     [](const WaitingRecord& one) { return !one.approved; });
    waiting_.erase(oldest != waiting_.end() - 1 ? oldest : waiting_.begin());
  }
  return Status(Code::kPermissionDenied,
                "this cluster's admin lets newcomers in: ask for 'troupe key approve " +
                    newcomer.id + "' on the head's machine, then start again");
}

Result<WaitingRecord> Admission::approve(const std::string& id_or_name) {
  std::vector<WaitingRecord*> meant;
  for (WaitingRecord& one : waiting_) {
    if (!one.approved && !id_or_name.empty() && (one.id == id_or_name || one.name == id_or_name))
      meant.push_back(&one);
  }
  if (meant.empty()) {
    return Status(Code::kNotFound, "no newcomer '" + id_or_name +
                                       "' waits for approval; 'troupe key ls' shows those that do");
  }
  if (meant.size() > 1) {
    std::string ids;
    for (const WaitingRecord* one : meant) ids += (ids.empty() ? "" : ", ") + one->id;
    return Status(Code::kInvalidArgument, "several newcomers call themselves '" + id_or_name +
                                              "': give one of the ids " + ids);
  }
  meant.front()->approved = true;
  const WaitingRecord approved = *meant.front();
  TROUPE_RETURN_IF_ERROR(save());
  return approved;
}

Result<net::Role> Admission::enrol(const net::PublicKey& via, const net::PublicKey& key,
                                   const net::PublicKey& identity, net::Role role,
                                   std::int64_t now_unix_s, const std::string& name) {
  const auto refused = [](const std::string& why) { return Status(Code::kPermissionDenied, why); };
  const bool node = role == net::Role::kNode;
  if (!node && role != net::Role::kClient) {
    return refused(std::string("a token cannot enrol a ") + net::role_name(role));
  }
  if (!node) TROUPE_RETURN_IF_ERROR(check_fresh(key));  // the key was made for this connection
  const MemberRecord* known = find_member(node ? key : identity);
  if (known != nullptr && known->revoked) {
    return refused(
        "the key of this node or client was revoked (troupe key revoke); a new --home makes a "
        "new key, which needs a token that still holds");
  }
  if (via == local_.key) {
    if (node) return refused("this token cannot enrol a node");
    return net::Role::kAdmin;
  }
  if (!node && via == identity && known != nullptr && net::is_client(known->role)) {
    return known->role;
  }
  const auto named = std::find_if(tokens_.begin(), tokens_.end(),
                                  [&](const TokenRecord& record) { return record.key == via; });
  if (named == tokens_.end()) return refused("this token is not one of this cluster");
  TokenRecord& record = *named;
  if (node != (record.role == net::Role::kNode)) {
    return refused(std::string("this token cannot enrol a ") + net::role_name(role) +
                   ": it is for the role " + net::role_name(record.role));
  }
  const char* const anew = "; 'troupe key new' on the head's machine makes a new one";
  if (record.expires_unix_s != 0 && now_unix_s > record.expires_unix_s) {
    return refused(std::string("this token has expired") + anew);
  }
  if (known != nullptr && known->role == record.role) return known->role;
  TROUPE_RETURN_IF_ERROR(check_fresh(node ? key : identity));
  if (record.uses_left == 0) return refused(std::string("this token is used up") + anew);
  const net::PublicKey& member = node ? key : identity;
  TROUPE_RETURN_IF_ERROR(check_approved(
      {net::key_id(member), member, record.role, name, record.id, now_unix_s, false}));
  --record.uses_left;
  record.used_unix_s = now_unix_s;
  members_.push_back({.id = net::key_id(member),
                      .key = member,
                      .role = record.role,
                      .name = "",
                      .token = record.id,
                      .since_unix_s = now_unix_s});
  TROUPE_RETURN_IF_ERROR(save());
  return record.role;
}

std::vector<net::PublicKey> Admission::end_tokens(std::int64_t now_unix_s) {
  // For this long, the newcomer that used the token last may ask for its answer again.
  constexpr std::int64_t kAnswerSeconds = 5;
  std::vector<net::PublicKey> ended;
  for (TokenRecord& record : tokens_) {
    const bool over = !record.usable(now_unix_s) && !record.ended &&
                      now_unix_s >= record.used_unix_s + kAnswerSeconds;
    if (!over) continue;
    record.ended = true;
    ended.push_back(record.key);
  }
  return ended;
}

Status Admission::rename(const net::PublicKey& key, const std::string& name) {
  for (MemberRecord& member : members_) {
    if (member.key != key || member.name == name) continue;
    member.name = name;
    return save();
  }
  return Status::ok();
}

Status Admission::set_drained(const net::PublicKey& key, std::uint64_t incarnation) {
  for (MemberRecord& member : members_) {
    if (member.key != key || member.drained == incarnation) continue;
    member.drained = incarnation;
    return save();
  }
  return Status::ok();
}

bool Admission::is_drained(const net::PublicKey& key, std::uint64_t incarnation) const {
  const MemberRecord* member = find_member(key);
  return member != nullptr && incarnation != 0 && member->drained == incarnation;
}

Result<TokenRecord> Admission::make_token(const TokenRequest& request, std::int64_t now_unix_s) {
  const bool member = request.role == net::Role::kNode || net::is_client(request.role);
  if (request.uses == 0 || !member || request.lifetime_s < 0) {
    return Status(Code::kInvalidArgument,
                  "a token needs at least one use, and the role of a node or of a client");
  }
  std::erase_if(tokens_, [&](const TokenRecord& record) {
    return &record != &tokens_.front() && !record.usable(now_unix_s);
  });
  if (tokens_.size() >= kTokenRecordsMax) {
    return Status(Code::kResourceExhausted,
                  "there are " + std::to_string(kTokenRecordsMax) +
                      " tokens already; revoke some (troupe key ls, troupe key revoke ID)");
  }
  TokenRecord record = fresh_token(cluster_, head_, now_unix_s);
  record.role = request.role;
  record.uses_left = request.uses;
  record.expires_unix_s = request.lifetime_s == 0 ? 0 : now_unix_s + request.lifetime_s;
  tokens_.push_back(record);
  TROUPE_RETURN_IF_ERROR(save());
  return record;
}

Result<Revoked> Admission::revoke(const std::string& id_or_name) {
  // Clients have no names: an empty one would mean any of them.
  if (id_or_name.empty())
    return Status(Code::kInvalidArgument,
                  "no token, node or client is named; 'troupe key ls' shows their ids and names");
  for (TokenRecord& record : tokens_) {
    if (record.id != id_or_name || record.uses_left == 0) continue;
    const Revoked revoked{record.key, std::nullopt,
                          "token " + record.id + " enrols nobody any more"};
    record.uses_left = 0;  // the next start makes a new join token
    TROUPE_RETURN_IF_ERROR(save());
    return revoked;
  }
  std::vector<MemberRecord*> meant;
  for (MemberRecord& member : members_) {
    const bool this_one = member.id == id_or_name || member.name == id_or_name;
    if (this_one && !member.revoked) meant.push_back(&member);
  }
  if (meant.empty()) {
    return Status(Code::kNotFound, "there is no token, node or client '" + id_or_name +
                                       "' that could be revoked; 'troupe key ls' shows them");
  }
  if (meant.size() > 1) {
    std::string ids;
    for (const MemberRecord* member : meant) ids += (ids.empty() ? "" : ", ") + member->id;
    return Status(Code::kInvalidArgument, "several nodes have been called '" + id_or_name +
                                              "': give one of the ids " + ids);
  }
  MemberRecord& member = *meant.front();
  member.revoked = true;
  TROUPE_RETURN_IF_ERROR(save());
  Revoked revoked{member.key, member.role,
                  std::string(net::is_client(member.role) ? "client " : "node ") +
                      (member.name.empty() ? member.id : member.name) + " is no longer a member"};
  const auto token = std::find_if(tokens_.begin(), tokens_.end(), [&](const TokenRecord& record) {
    return record.id == member.token && record.uses_left > 0;
  });
  if (token != tokens_.end()) {
    revoked.text += "; the token that it came with still enrols others: troupe key revoke " +
                    token->id + " ends that too";
  }
  return revoked;
}

}  // namespace troupe::actors
