#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include <troupe/model/config/model_config.h>
#include <troupe/model/families/family_list.h>
#include <troupe/model/files/gguf.h>
#include <troupe/model/files/hf_config.h>

// What differs between model families: how their configuration is read from a GGUF header and from
// a Hugging Face config.json, and what their tensors are called in both. Each family has one file
// and one row in family_list.h. All families compute with one block (transformer/block.cpp), whose
// options a family sets in its ModelConfig.

namespace troupe::model {

// A tensor's name in a Hugging Face file and in GGUF. '*' stands for a number: that of the layer,
// then that of the expert.
struct HfName {
  std::string_view hf, gguf;
  bool transposed = false;  // the Hugging Face file stores it as (inputs, outputs)
  bool spare = false;       // it is left out if another tensor has the same name in GGUF
  // The format of the values that the file calls bytes (U8). The last two sizes of a tensor of
  // blocks are the number of blocks in a row and the bytes of one.
  std::optional<quant::Type> format = {};
};

// What a family's Hugging Face folders look like.
struct HfFolder {
  std::string_view model_type;  // the field of config.json
  std::string_view prefix;      // the prefix that files with a head put before names outside of it
  // Makes the metadata that read_gguf reads from config.json.
  Status (*metadata)(const HfConfig& config, GgufMetadata* out);
  std::span<const HfName> names;
};

struct Family {
  std::string_view name;  // as general.architecture spells it
  // Reads the fields of a GGUF header. config_from_gguf then makes the checks that are the same for
  // every family.
  Result<ModelConfig> (*read_gguf)(const GgufHeader& header);
  HfFolder hf;
};

// Returns nullptr if no family has this name.
const Family* find_family(std::string_view name);
std::span<const Family> families();
// Finds a family by the "model_type" of config.json; nullptr if there is none.
const Family* find_hf_family(std::string_view model_type);

#define TROUPE_DECLARE_FAMILY(name) extern const Family k##name##Family;
TROUPE_FAMILIES(TROUPE_DECLARE_FAMILY)
#undef TROUPE_DECLARE_FAMILY

}  // namespace troupe::model
