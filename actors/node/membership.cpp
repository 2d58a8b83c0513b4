#include <troupe/actors/node/membership.h>
#include <troupe/runtime/file.h>
#include <troupe/runtime/text/json_file.h>

namespace troupe::actors {
namespace {

constexpr std::size_t kFileBytesMax = 64u << 10;

}  // namespace

Result<std::optional<Membership>> load_membership(const std::filesystem::path& home) {
  const std::filesystem::path path = home / "member.json";
  if (!std::filesystem::exists(path)) return std::optional<Membership>();
  TROUPE_ASSIGN_OR_RETURN(const auto file, read_json_file(path, kFileBytesMax));
  Membership member;
  std::string head;
  if (!read_field(file, "cluster", &member.cluster)) return bad_field(path, "cluster");
  if (!read_field(file, "cluster_name", &member.cluster_name)) {
    return bad_field(path, "cluster_name");
  }
  if (!read_field(file, "head", &head)) return bad_field(path, "head");
  if (!read_field(file, "head_host", &member.head_host)) return bad_field(path, "head_host");
  if (!read_field(file, "head_port", &member.head_port)) return bad_field(path, "head_port");
  const auto key = net::key_from_z85(head);
  if (!key) return bad_field(path, "head");
  member.head = *key;
  return std::optional<Membership>(std::move(member));
}

Status save_membership(const std::filesystem::path& home, const Membership& membership) {
  const nlohmann::json file = {{"cluster", membership.cluster},
                               {"cluster_name", membership.cluster_name},
                               {"head", net::to_z85(membership.head)},
                               {"head_host", membership.head_host},
                               {"head_port", membership.head_port}};
  return write_file_atomically(home / "member.json", file.dump(2) + "\n", 0600);
}

}  // namespace troupe::actors
