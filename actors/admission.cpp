#include <algorithm>
#include <cstdlib>

#include <nlohmann/json.hpp>
#include <sys/stat.h>
#include <unistd.h>

#include <troupe/actors/admission.h>
#include <troupe/runtime/file.h>

namespace troupe::actors {
namespace {

using nlohmann::json;

constexpr std::int64_t kTokenLifeSeconds = 24 * 3600;
constexpr std::int64_t kRenewBeforeSeconds = 3600;
constexpr std::uint32_t kTokenUses = 1000;
constexpr std::size_t kFileBytesMax = 4u << 20;

std::array<std::uint8_t, 16> random_seed() {
  std::array<std::uint8_t, 16> seed{};
  for (std::size_t i = 0; i < seed.size(); i += 8) {
    const std::uint64_t word = net::random_u64();
    for (std::size_t j = 0; j < 8; ++j) seed[i + j] = static_cast<std::uint8_t>(word >> (8 * j));
  }
  return seed;
}

TokenRecord fresh_token(std::uint64_t cluster, const net::PublicKey& head, std::int64_t now) {
  TokenRecord record;
  record.token = {cluster, head, random_seed()};
  record.expires_unix_s = now + kTokenLifeSeconds;
  record.uses_left = kTokenUses;
  return record;
}

// Two words, so that people can tell clusters apart.
std::string cluster_name_of(std::uint64_t cluster) {
  static const char* const kFirst[] = {"amber", "brisk", "calm",  "dusky", "eager", "fresh",
                                       "grand", "happy", "ivory", "jolly", "keen",  "lucid",
                                       "merry", "noble", "quick", "royal"};
  static const char* const kSecond[] = {"ballet", "chorus", "drama",   "encore", "fugue", "guild",
                                        "harp",   "jester", "lyric",   "masque", "opera", "quartet",
                                        "revue",  "sonata", "theatre", "waltz"};
  return std::string(kFirst[cluster % 16]) + "-" + kSecond[(cluster >> 4) % 16];
}

template <class T>
bool read(const json& object, const char* field, T* out) {
  const auto found = object.find(field);
  if (found == object.end()) return false;
  try {
    found->get_to(*out);
    return true;
  } catch (const json::exception&) {
    return false;
  }
}

Result<json> read_json(const std::filesystem::path& path) {
  TROUPE_ASSIGN_OR_RETURN(const std::string text, read_file(path, kFileBytesMax));
  json parsed = json::parse(text, nullptr, false);
  if (!parsed.is_object()) {
    return Status(Code::kBadData, path.string() +
                                      " is not the JSON object that Troupe wrote; "
                                      "move it away to start anew");
  }
  return parsed;
}

Status broken(const std::filesystem::path& path, const char* field) {
  return Status(Code::kBadData, path.string() + ": the field \"" + field +
                                    "\" is absent or wrong; move the file away to start anew");
}

}  // namespace

std::filesystem::path head_file(const std::filesystem::path& home) { return home / "head.json"; }

Result<Admission> Admission::load_or_make(const std::filesystem::path& home,
                                          const net::PublicKey& head, std::int64_t now_unix_s) {
  Admission admission;
  admission.path_ = head_file(home);
  const auto& path = admission.path_;
  if (std::filesystem::exists(path)) {
    TROUPE_ASSIGN_OR_RETURN(const json file, read_json(path));
    std::string token;
    if (!read(file, "cluster", &admission.cluster_)) return broken(path, "cluster");
    if (!read(file, "name", &admission.name_)) return broken(path, "name");
    if (!read(file, "token", &token)) return broken(path, "token");
    auto parsed = net::parse_token(token);
    if (!parsed) return broken(path, "token");
    admission.join_.token = *parsed;
    if (!read(file, "token_expires", &admission.join_.expires_unix_s) ||
        !read(file, "token_uses_left", &admission.join_.uses_left)) {
      return broken(path, "token_expires");
    }
    std::vector<std::string> nodes;
    if (!read(file, "nodes", &nodes)) return broken(path, "nodes");
    for (const std::string& text : nodes) {
      auto key = net::key_from_z85(text);
      if (!key) return broken(path, "nodes");
      admission.nodes_.push_back(*key);
    }
  } else {
    admission.cluster_ = net::random_u64();
    admission.name_ = cluster_name_of(admission.cluster_);
  }
  TokenRecord& join = admission.join_;
  if (join.token.head != head || join.uses_left == 0 ||
      join.expires_unix_s < now_unix_s + kRenewBeforeSeconds) {
    join = fresh_token(admission.cluster_, head, now_unix_s);
  }
  admission.local_ = fresh_token(admission.cluster_, head, now_unix_s);
  admission.local_.nodes = false;
  admission.local_.expires_unix_s = 0;
  TROUPE_RETURN_IF_ERROR(admission.save());
  return admission;
}

Status Admission::save() const {
  json file;
  file["cluster"] = cluster_;
  file["name"] = name_;
  file["token"] = net::to_text(join_.token);
  file["token_expires"] = join_.expires_unix_s;
  file["token_uses_left"] = join_.uses_left;
  file["nodes"] = json::array();
  for (const net::PublicKey& key : nodes_) file["nodes"].push_back(net::to_z85(key));
  return write_file_atomically(path_, file.dump(2) + "\n", 0600);
}

Status Admission::enrol(const net::PublicKey& via, const net::PublicKey& key, net::Role role,
                        std::int64_t now_unix_s) {
  const bool is_join = via == net::enrolment_key_pair(join_.token).public_key;
  const bool is_local = via == net::enrolment_key_pair(local_.token).public_key;
  if (!is_join && !is_local) {
    return Status(Code::kPermissionDenied, "this token is not one of this cluster");
  }
  TokenRecord& record = is_join ? join_ : local_;
  const bool node = role == net::Role::kNode;
  const bool may = (node && record.nodes) || (role == net::Role::kClient && record.clients);
  if (!may) {
    return Status(Code::kPermissionDenied,
                  std::string("this token cannot enrol a ") + net::role_name(role));
  }
  if (record.expires_unix_s != 0 && now_unix_s > record.expires_unix_s) {
    return Status(Code::kPermissionDenied,
                  "this token has expired; restart the head, it prints a new one");
  }
  const bool known = std::find(nodes_.begin(), nodes_.end(), key) != nodes_.end();
  if (is_local || (node && known)) return Status::ok();
  if (record.uses_left == 0) {
    return Status(Code::kPermissionDenied,
                  "this token is used up; restart the head, it prints a new one");
  }
  --record.uses_left;
  if (node) nodes_.push_back(key);
  return save();
}

Result<std::optional<Membership>> load_membership(const std::filesystem::path& home) {
  const std::filesystem::path path = home / "member.json";
  if (!std::filesystem::exists(path)) return std::optional<Membership>();
  TROUPE_ASSIGN_OR_RETURN(const json file, read_json(path));
  Membership member;
  std::string head;
  if (!read(file, "cluster", &member.cluster)) return broken(path, "cluster");
  if (!read(file, "cluster_name", &member.cluster_name)) return broken(path, "cluster_name");
  if (!read(file, "head", &head)) return broken(path, "head");
  if (!read(file, "head_host", &member.head_host)) return broken(path, "head_host");
  if (!read(file, "head_port", &member.head_port)) return broken(path, "head_port");
  auto key = net::key_from_z85(head);
  if (!key) return broken(path, "head");
  member.head = *key;
  return std::optional<Membership>(std::move(member));
}

Status save_membership(const std::filesystem::path& home, const Membership& membership) {
  const json file = {{"cluster", membership.cluster},
                     {"cluster_name", membership.cluster_name},
                     {"head", net::to_z85(membership.head)},
                     {"head_host", membership.head_host},
                     {"head_port", membership.head_port}};
  return write_file_atomically(home / "member.json", file.dump(2) + "\n", 0600);
}

Result<std::filesystem::path> client_key_path(std::uint16_t port) {
  std::filesystem::path folder;
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");
  if (runtime != nullptr && *runtime != '\0') {
    folder = std::filesystem::path(runtime) / "troupe";
  } else {
    folder = "/tmp/troupe-" + std::to_string(::getuid());
  }
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) {
    return Status(Code::kPermissionDenied, "cannot make " + folder.string() +
                                               ", where local clients' keys lie; set "
                                               "XDG_RUNTIME_DIR to a folder of yours");
  }
  struct stat info {};
  if (::lstat(folder.c_str(), &info) != 0 || !S_ISDIR(info.st_mode) || info.st_uid != ::getuid() ||
      (info.st_mode & 077) != 0) {
    return Status(Code::kPermissionDenied,
                  folder.string() +
                      " must be a folder of yours that nobody else may enter; run "
                      "'chmod 700 " +
                      folder.string() + "', or remove it if it is not yours");
  }
  return folder / (std::to_string(port) + ".client");
}

}  // namespace troupe::actors
