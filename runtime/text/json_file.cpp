#include <troupe/runtime/file.h>
#include <troupe/runtime/text/bounded_json.h>
#include <troupe/runtime/text/json_file.h>

namespace troupe {

Result<nlohmann::json> read_json_file(const std::filesystem::path& path, std::size_t bytes_max) {
  TROUPE_ASSIGN_OR_RETURN(const std::string text, read_file(path, bytes_max));
  JsonLimits limits;
  limits.bytes_max = bytes_max;
  const auto parsed = parse_json(text, path.string(), limits);
  if (parsed && parsed->is_object()) return *parsed;
  return Status(Code::kBadData, path.string() +
                                    " is not the JSON object that Troupe wrote; move it away to "
                                    "start anew");
}

Status bad_field(const std::filesystem::path& path, const char* field) {
  return Status(Code::kBadData, path.string() + ": the field \"" + field +
                                    "\" is absent or wrong; move the file away to start anew");
}

}  // namespace troupe
