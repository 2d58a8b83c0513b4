#include <algorithm>
#include <cstring>
#include <map>
#include <system_error>
#include <utility>

#include <nlohmann/json.hpp>

#include <troupe/model/files/safetensors.h>
#include <troupe/model/files/safetensors_writer.h>
#include <troupe/model/training/checkpoint.h>
#include <troupe/runtime/failpoint.h>
#include <troupe/runtime/file.h>
#include <troupe/runtime/sha256.h>
#include <troupe/runtime/text/json_file.h>

namespace troupe::model {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kFolderPrefix = "checkpoint-";
constexpr const char* kStateName = "state.safetensors";
constexpr const char* kManifestName = "manifest.json";
constexpr std::size_t kManifestBytesMax = std::size_t{1} << 20;

// One array of a parameter, in the layout of its memory.
struct Array {
  std::string name;
  float* values;
  std::size_t floats;
};

std::vector<Array> arrays_of(Trainer& trainer) {
  std::vector<Array> arrays;
  const auto add = [&](const char* kind, const Parameter& parameter, float* values) {
    // The parts of a fused tensor share its name.
    const std::string part =
        parameter.spec.whole == 0 ? "" : "@" + std::to_string(parameter.spec.first);
    if (values != nullptr)
      arrays.push_back({kind + parameter.spec.name + part, values, parameter.floats});
  };
  for (Parameter* parameter : trainer.parameters().trained()) {
    add("weight:", *parameter, parameter->values());
    add("first_moment:", *parameter, reinterpret_cast<float*>(parameter->first_moment.data()));
    add("second_moment:", *parameter, reinterpret_cast<float*>(parameter->second_moment.data()));
  }
  return arrays;
}

// Returns the checkpoints of a folder by their steps, including damaged ones.
std::map<std::uint64_t, fs::path> checkpoints_in(const fs::path& folder) {
  std::map<std::uint64_t, fs::path> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    const std::string_view number = std::string_view(name).substr(
        name.starts_with(kFolderPrefix) ? kFolderPrefix.size() : name.size());
    if (number.empty() || number.size() > 18 ||
        number.find_first_not_of("0123456789") != number.npos)
      continue;
    found[std::stoull(std::string(number))] = entry.path();
  }
  return found;
}

struct Manifest {
  CheckpointState state;
  std::uint64_t updates = 0;
  std::string sha256;
};

Result<Manifest> read_manifest(const fs::path& checkpoint) {
  const fs::path path = checkpoint / kManifestName;
  TROUPE_ASSIGN_OR_RETURN(const nlohmann::json object, read_json_file(path, kManifestBytesMax));
  Manifest manifest;
  nlohmann::json identity;
  if (!read_field(object, "step", &manifest.state.step)) return bad_field(path, "step");
  if (!read_field(object, "skipped_in_row", &manifest.state.skipped_in_row))
    return bad_field(path, "skipped_in_row");
  if (!read_field(object, "best_step", &manifest.state.best_step))
    return bad_field(path, "best_step");
  if (!read_field(object, "best_loss", &manifest.state.best_loss))
    return bad_field(path, "best_loss");
  if (!read_field(object, "evaluations_since_best", &manifest.state.evaluations_since_best))
    return bad_field(path, "evaluations_since_best");
  // Older checkpoints lack this field.
  if (object.contains("event_bytes") &&
      !read_field(object, "event_bytes", &manifest.state.event_bytes))
    return bad_field(path, "event_bytes");
  if (!read_field(object, "updates", &manifest.updates)) return bad_field(path, "updates");
  if (!read_field(object, "state_sha256", &manifest.sha256)) return bad_field(path, "state_sha256");
  if (!read_field(object, "run", &manifest.state.identity)) return bad_field(path, "run");
  return manifest;
}

// Checks that the state file is the one for which the manifest was written.
Status check_state(const fs::path& checkpoint, const Manifest& manifest) {
  TROUPE_ASSIGN_OR_RETURN(const std::string sha256, sha256_of_file(checkpoint / kStateName));
  if (sha256 == manifest.sha256) return Status::ok();
  return Status(Code::kBadData, (checkpoint / kStateName).string() +
                                    " has another SHA-256 than its manifest says; its bytes were "
                                    "damaged");
}

std::string differences(const RunIdentity& saved, const RunIdentity& now) {
  std::string text;
  const auto value_of = [](const RunIdentity& identity, const std::string& field) {
    for (const auto& [name, value] : identity)
      if (name == field) return value;
    return std::string("none");
  };
  for (const auto& [field, value] : now) {
    const std::string before = value_of(saved, field);
    if (before != value)
      text += (text.empty() ? "" : ", ") + field + " (" + before + " there, " + value + " now)";
  }
  return text;
}

Status restore(const fs::path& checkpoint, const Manifest& manifest, Trainer& trainer) {
  const fs::path path = checkpoint / kStateName;
  TROUPE_ASSIGN_OR_RETURN(const Safetensors file, Safetensors::open_file(path));
  if (manifest.updates > 0) trainer.optimizer().prepare(trainer.parameters().trained());
  for (const Array& array : arrays_of(trainer)) {
    const SafetensorsTensor* tensor = file.find(array.name);
    if (tensor == nullptr || tensor->bytes != array.floats * sizeof(float))
      return Status(Code::kBadData, path.string() + " has no tensor " + array.name + " of " +
                                        std::to_string(array.floats) + " values");
    std::memcpy(array.values, file.bytes(*tensor).data(), tensor->bytes);
    file.drop(*tensor);
  }
  trainer.optimizer().restore(manifest.updates);
  return Status::ok();
}

}  // namespace

Status save_checkpoint(const fs::path& folder, const CheckpointState& state, Trainer& trainer,
                       std::size_t keep) {
  const fs::path checkpoint = folder / (std::string(kFolderPrefix) + std::to_string(state.step));
  std::error_code error;
  // A manifest of an earlier attempt must not vouch for this one's files.
  fs::remove(checkpoint / kManifestName, error);
  fs::create_directories(checkpoint, error);
  if (error)
    return Status(Code::kUnavailable,
                  "cannot make the folder " + checkpoint.string() + ": " + error.message());
  const std::vector<Array> arrays = arrays_of(trainer);
  std::vector<TensorToWrite> heads;
  for (const Array& array : arrays) heads.push_back({array.name, {array.floats}});
  TROUPE_ASSIGN_OR_RETURN(const std::string sha256,
                          write_safetensors(checkpoint / kStateName, heads, [&](std::size_t index) {
                            const Array& array = arrays[index];
                            return std::vector<float>(array.values, array.values + array.floats);
                          }));
  TROUPE_RETURN_IF_ERROR(failpoint("training", "checkpoint", "manifest"));
  const nlohmann::ordered_json manifest = {{"step", state.step},
                                           {"updates", trainer.optimizer().steps()},
                                           {"skipped_in_row", state.skipped_in_row},
                                           {"best_step", state.best_step},
                                           {"best_loss", state.best_loss},
                                           {"evaluations_since_best", state.evaluations_since_best},
                                           {"event_bytes", state.event_bytes},
                                           {"state_sha256", sha256},
                                           {"run", state.identity}};
  TROUPE_RETURN_IF_ERROR(
      write_file_atomically(checkpoint / kManifestName, manifest.dump(2) + "\n"));
  TROUPE_RETURN_IF_ERROR(failpoint("training", "checkpoint", "prune"));
  std::map<std::uint64_t, fs::path> old = checkpoints_in(folder);
  old.erase(state.step);
  old.erase(state.best_step);
  while (old.size() + 1 > std::max<std::size_t>(1, keep)) {
    // Remove the manifest first: without it, the rest does not count as a checkpoint.
    fs::remove(old.begin()->second / kManifestName, error);
    fs::remove_all(old.begin()->second, error);
    old.erase(old.begin());
  }
  return Status::ok();
}

Result<std::optional<CheckpointState>> load_checkpoint(const fs::path& folder,
                                                       const RunIdentity& identity,
                                                       Trainer& trainer,
                                                       std::vector<std::string>* damaged) {
  const std::map<std::uint64_t, fs::path> found = checkpoints_in(folder);
  for (auto one = found.rbegin(); one != found.rend(); ++one) {
    const Result<Manifest> manifest = read_manifest(one->second);
    if (!manifest) {
      damaged->push_back(one->second.string() + ": " + manifest.message());
      continue;
    }
    const std::string differing = differences(manifest->state.identity, identity);
    if (!differing.empty())
      return Status(Code::kFailedPrecondition,
                    one->second.string() + " is of another run: " + differing +
                        "; give the same options, another --output-dir, or --resume never");
    Status status = check_state(one->second, *manifest);
    if (status.is_ok()) status = restore(one->second, *manifest, trainer);
    if (status.is_ok()) return std::optional(manifest->state);
    damaged->push_back(status.message());
  }
  return std::optional<CheckpointState>();
}

Status load_checkpoint_of_step(const fs::path& folder, std::uint64_t step, Trainer& trainer) {
  const fs::path checkpoint = folder / (std::string(kFolderPrefix) + std::to_string(step));
  TROUPE_ASSIGN_OR_RETURN(const Manifest manifest, read_manifest(checkpoint));
  TROUPE_RETURN_IF_ERROR(check_state(checkpoint, manifest));
  return restore(checkpoint, manifest, trainer);
}

std::string newest_checkpoint(const fs::path& folder) {
  const std::map<std::uint64_t, fs::path> found = checkpoints_in(folder);
  for (auto one = found.rbegin(); one != found.rend(); ++one)
    if (read_manifest(one->second)) return one->second.string();
  return "";
}

}  // namespace troupe::model
