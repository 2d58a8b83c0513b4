#include <algorithm>
#include <charconv>
#include <span>
#include <sstream>

#include <sys/stat.h>

#include <troupe/actors/engine/fair_shares.h>
#include <troupe/actors/http/api_keys.h>
#include <troupe/actors/http/random_id.h>
#include <troupe/runtime/file.h>
#include <troupe/runtime/sha256.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::http {
namespace {

constexpr std::size_t kFileBytesMax = std::size_t{1} << 20;
constexpr std::size_t kNameBytesMax = 64;
constexpr std::string_view kHashPrefix = "sha256:";

struct RoleName {
  const char* name;
  Role role;
};
constexpr RoleName kRoles[] = {
    {"api", Role::kApi}, {"metrics", Role::kMetrics}, {"admin", Role::kAdmin}};

std::string hash_of(std::string_view key) {
  return sha256_hex(std::as_bytes(std::span<const char>(key)));
}

// Compares every byte, wherever the first difference is.
bool equal_in_constant_time(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  unsigned char difference = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference = static_cast<unsigned char>(difference | (a[i] ^ b[i]));
  }
  return difference == 0;
}

bool read_number(std::string_view text, std::uint64_t* out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *out);
  return error == std::errc() && end == text.data() + text.size() && *out > 0;
}

template <class Number>
bool read_within(std::string_view text, Number least, Number most, Number* out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *out);
  return error == std::errc() && end == text.data() + text.size() && *out >= least && *out <= most;
}

bool read_setting(std::string_view word, ApiKey* key) {
  const std::size_t equals = std::min(word.find('='), word.size());
  const std::string_view name = word.substr(0, equals);
  const std::string_view value = word.substr(std::min(equals + 1, word.size()));
  if (name == "requests_per_minute") return read_number(value, &key->requests_per_minute);
  if (name == "tokens_per_minute") return read_number(value, &key->tokens_per_minute);
  if (name == "weight") {
    return read_within<std::uint32_t>(value, 1, actors::kWeightMax, &key->weight);
  }
  if (name == "priority") {
    return read_within(value, -actors::kPriorityMost, actors::kPriorityMost, &key->priority);
  }
  if (name != "role") return false;
  for (const RoleName& role : kRoles) {
    if (value != role.name) continue;
    key->role = role.role;
    return true;
  }
  return false;
}

Result<ApiKey> read_line(const std::string& name, std::istringstream& words,
                         const std::string& where) {
  ApiKey key;
  key.name = name;
  if (!is_key_name(name)) {
    return Status(Code::kBadData, where + "the name " + in_quotes(name) +
                                      " is not 1 to 64 letters, digits, '.', '_' and '-'");
  }
  std::string word;
  words >> word;
  if (word.rfind(kHashPrefix, 0) == 0) key.sha256 = word.substr(kHashPrefix.size());
  if (!is_sha256_hex(key.sha256)) {
    return Status(Code::kBadData, where +
                                      "after the name, sha256: and 64 hexadecimal digits are "
                                      "expected");
  }
  while (words >> word) {
    if (word[0] == '#') break;
    if (!read_setting(word, &key)) {
      return Status(Code::kBadData,
                    where + in_quotes(word) +
                        " is none of role=api|metrics|admin, requests_per_minute=N, "
                        "tokens_per_minute=N, weight=N (1 to 100) and priority=N (-9 to 9)");
    }
  }
  return key;
}

std::string line_of(const ApiKey& key) {
  std::string line = key.name + " " + std::string(kHashPrefix) + key.sha256;
  for (const RoleName& role : kRoles) {
    if (role.role == key.role) line += std::string(" role=") + role.name;
  }
  if (key.requests_per_minute > 0) {
    line += " requests_per_minute=" + std::to_string(key.requests_per_minute);
  }
  if (key.tokens_per_minute > 0) {
    line += " tokens_per_minute=" + std::to_string(key.tokens_per_minute);
  }
  if (key.weight != 1) line += " weight=" + std::to_string(key.weight);
  if (key.priority != 0) line += " priority=" + std::to_string(key.priority);
  return line + "\n";
}

}  // namespace

bool is_key_name(std::string_view name) {
  return !name.empty() && name.size() <= kNameBytesMax &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '.' || c == '_' || c == '-';
         });
}

bool may_use(Role key, Role route) {
  return route == Role::kNone || key == Role::kAdmin || key == route;
}

Result<ApiKeys> ApiKeys::parse(std::string_view text) {
  ApiKeys keys;
  std::istringstream lines{std::string(text)};
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    std::istringstream words(line);
    std::string name;
    if (!(words >> name) || name[0] == '#') continue;
    const std::string where = "line " + std::to_string(number) + ": ";
    TROUPE_ASSIGN_OR_RETURN(ApiKey key, read_line(name, words, where));
    if (keys.named(key.name) != nullptr) {
      return Status(Code::kBadData, where + "the name " + in_quotes(name) + " occurs twice");
    }
    keys.keys_.push_back(std::move(key));
  }
  return keys;
}

Result<ApiKeys> ApiKeys::load(const std::filesystem::path& path) {
  struct stat found {};
  if (::stat(path.c_str(), &found) == 0 && (found.st_mode & 077) != 0) {
    return Status(Code::kPermissionDenied,
                  "others than its owner may read " + path.string() + "; run `chmod 600` on it");
  }
  TROUPE_ASSIGN_OR_RETURN(const std::string text, read_file(path, kFileBytesMax));
  Result<ApiKeys> keys = parse(text);
  if (!keys) return keys.status().with_context(path.string());
  return keys;
}

const ApiKey* ApiKeys::find(std::string_view key) const {
  const std::string hash = hash_of(key);
  const ApiKey* found = nullptr;
  for (const ApiKey& one : keys_) {
    if (equal_in_constant_time(one.sha256, hash)) found = &one;
  }
  return found;
}

const ApiKey* ApiKeys::named(std::string_view name) const {
  for (const ApiKey& one : keys_) {
    if (one.name == name) return &one;
  }
  return nullptr;
}

Result<std::string> add_api_key(const std::filesystem::path& path, const ApiKey& described) {
  if (!is_key_name(described.name)) {
    return Status(Code::kInvalidArgument, "the name " + in_quotes(described.name) +
                                              " is not 1 to 64 letters, digits, '.', '_' and '-'");
  }
  std::string text;
  if (std::filesystem::exists(path)) {
    TROUPE_ASSIGN_OR_RETURN(const ApiKeys keys, ApiKeys::load(path));
    if (keys.named(described.name) != nullptr) {
      return Status(Code::kAlreadyExists, path.string() + " has a key of the name " +
                                              in_quotes(described.name) +
                                              " already; remove its line first");
    }
    TROUPE_ASSIGN_OR_RETURN(text, read_file(path, kFileBytesMax));
    if (!text.empty() && text.back() != '\n') text += '\n';
  }
  const std::string key = "sk-" + random_id() + random_id();
  ApiKey added = described;
  added.sha256 = hash_of(key);
  TROUPE_RETURN_IF_ERROR(write_file_atomically(path, text + line_of(added), 0600));
  return key;
}

}  // namespace troupe::http
