#pragma once

#include <cstddef>
#include <filesystem>

#include <nlohmann/json.hpp>

#include <troupe/runtime/status.h>

// JSON objects that Troupe itself keeps in files, such as a home's head.json and member.json. They
// are still read with bounds, because a disk or an editor may have damaged them. Any thread.

namespace troupe {

// Reads such a file.
//   Errors: those of read_file; kBadData (it is not a JSON object within bounds).
Result<nlohmann::json> read_json_file(const std::filesystem::path& path, std::size_t bytes_max);
// Returns the failure of a field that is absent or wrong.
Status bad_field(const std::filesystem::path& path, const char* field);

// Returns false if the field is absent, of another type, or a number that does not fit.
template <class T>
bool read_field(const nlohmann::json& object, const char* field, T* out) {
  const auto found = object.find(field);
  if (found == object.end()) return false;
  try {
    found->get_to(*out);
    return nlohmann::json(*out) == *found;  // a number that does not fit has changed
  } catch (const nlohmann::json::exception&) {
    return false;
  }
}

}  // namespace troupe
