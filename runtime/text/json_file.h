#pragma once

#include <cstddef>
#include <filesystem>

#include <nlohmann/json.hpp>

#include <troupe/runtime/status.h>

// JSON objects that Troupe itself keeps in files, such as a home's head.json and member.json: read
// with bounds all the same, since a disk or an editor may have damaged them. Any thread.

namespace troupe {

//   Errors: those of read_file; kBadData: it is no JSON object with sane bounds.
Result<nlohmann::json> read_json_file(const std::filesystem::path& path, std::size_t bytes_max);
// For a field that is absent or wrong.
Status bad_field(const std::filesystem::path& path, const char* field);

// False if the field is absent, of another type, or a number that does not fit.
template <class T>
bool read_field(const nlohmann::json& object, const char* field, T* out) {
  const auto found = object.find(field);
  if (found == object.end()) return false;
  try {
    found->get_to(*out);
    return nlohmann::json(*out) == *found;  // a number that does not fit is another one now
  } catch (const nlohmann::json::exception&) {
    return false;
  }
}

}  // namespace troupe
