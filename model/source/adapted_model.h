#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <troupe/model/source/tensor_source.h>

// A model with a low-rank adapter beside its matrices, as one model: the base's header and tensors
// as they are, then the adapter's, under the matrices' names followed by ".lora_a" and ".lora_b",
// in f32. So the pair has one hash, which is neither the base's nor another adapter's, and whatever
// is known by a model's hash (deployments, shared prefixes, replicas, the journal) never mixes
// answers with and without the adapter.
//
// The pair is stored as a folder with one small file, adapted.json, which names the base and the
// adapter's folder (PEFT's files). Any thread may read.

namespace troupe::model {

inline constexpr const char* kAdaptedName = "adapted.json";

// Says whether a folder is such a pair.
bool is_adapted_model(const std::filesystem::path& folder);

// Writes the pair of `base` and `adapter`, two paths, below `place`, and returns its folder. The
// same pair has the same folder.
//   Errors: what the system says.
Result<std::filesystem::path> write_adapted_model(const std::filesystem::path& place,
                                                  const std::filesystem::path& base,
                                                  const std::filesystem::path& adapter);

struct AdaptedPair {
  std::filesystem::path base, adapter;
};
// Reads which files a pair consists of.
//   Errors: kBadData; kInvalidArgument if the base has an adapter already.
Result<AdaptedPair> read_adapted_pair(const std::filesystem::path& folder);

// Puts the adapter in the folder `adapter` beside `base`. `what` names the pair in messages.
//   Errors: kNotFound if the adapter has no files; kBadData naming tensor and shape if it does not
//   fit the model, or the setting that cannot be computed beside weights.
Result<std::unique_ptr<WholeModel>> add_adapter(std::unique_ptr<WholeModel> base,
                                                const std::filesystem::path& adapter,
                                                const std::string& what);
// Returns the files that the adapter consists of.
//   Errors: kNotFound.
Result<std::vector<std::filesystem::path>> adapter_files(const std::filesystem::path& adapter);

}  // namespace troupe::model
