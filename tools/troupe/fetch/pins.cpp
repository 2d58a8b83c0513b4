#include <map>

#include <nlohmann/json.hpp>

#include <troupe/runtime/file.h>
#include <troupe/runtime/text/bounded_json.h>
#include <troupe/runtime/text/utf8.h>
#include <troupe/tools/troupe/fetch/pins.h>

namespace troupe::tools {
namespace {

using nlohmann::json;

constexpr JsonLimits kLimits{
    std::size_t{16} << 20, 4,
    "remove the file; then the hashes that hubs state from now on are kept"};

std::filesystem::path pins_path(const std::filesystem::path& home) {
  return home / "store" / "pins.json";
}

struct Pin {
  std::string stated, license, model;
};

// Reads the pins, by the places of their files.
Result<std::map<std::string, Pin>> read_pins(const std::filesystem::path& home) {
  std::map<std::string, Pin> pins;
  const std::filesystem::path path = pins_path(home);
  const Result<std::string> text = read_file(path, kLimits.bytes_max);
  if (text.code() == Code::kNotFound) return pins;
  if (!text) return text.status();
  TROUPE_ASSIGN_OR_RETURN(const json value, parse_json(*text, path.string(), kLimits));
  const Status bad(Code::kBadData,
                   path.string() + " does not hold what hubs stated; " + kLimits.advice);
  if (!value.is_object()) return bad;
  for (const auto& [place, one] : value.items()) {
    Pin pin;
    for (const auto& [field, into] :
         {std::pair{"stated", &pin.stated}, std::pair{"license", &pin.license},
          std::pair{"model", &pin.model}}) {
      const auto found = one.is_object() ? one.find(field) : one.end();
      if (!one.is_object() || found == one.end() || !found->is_string()) return bad;
      *into = found->get<std::string>();
    }
    pins[place] = pin;
  }
  return pins;
}

}  // namespace

Status check_pins(const std::filesystem::path& home, const Source& source) {
  TROUPE_ASSIGN_OR_RETURN(const auto pins, read_pins(home));
  for (const RemoteFile& file : source.files) {
    const auto pin = pins.find(file.place);
    if (pin == pins.end() || pin->second.stated.empty() || pin->second.stated == file.stated)
      continue;
    return Status(Code::kFailedPrecondition,
                  plain_line(file.place, 300) + " has changed: it was " + pin->second.stated +
                      " when it was first pulled, and the hub now " +
                      (file.stated.empty() ? "states no hash" : "has " + file.stated) +
                      "; if you trust the new one, pull it with --accept-change");
  }
  return Status::ok();
}

bool is_pinned_model(const std::filesystem::path& home, const Source& source,
                     const std::string& sha256) {
  const auto pins = read_pins(home);
  if (!pins) return false;
  for (const RemoteFile& file : source.files) {
    const auto pin = pins->find(file.place);
    if (pin != pins->end() && pin->second.model == sha256) return true;
  }
  return false;
}

Status remember_pins(const std::filesystem::path& home, const Source& source,
                     const std::string& sha256) {
  TROUPE_ASSIGN_OR_RETURN(auto pins, read_pins(home));
  for (const RemoteFile& file : source.files) {
    if (!file.place.empty()) pins[file.place] = {file.stated, source.license, sha256};
  }
  json value = json::object();
  for (const auto& [place, pin] : pins)
    value[place] = {{"stated", pin.stated}, {"license", pin.license}, {"model", pin.model}};
  return write_file_atomically(pins_path(home),
                               value.dump(1, ' ', false, json::error_handler_t::replace) + "\n");
}

}  // namespace troupe::tools
