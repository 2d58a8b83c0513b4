#pragma once

#include <string>

#include <troupe/model/training/new_model.h>

// The file that `troupe train --config` takes: what a new model is made of, in TOML
// (docs/training.md has the table of its keys).

namespace troupe::tools {

// Reads the file. `tokenizer` in the result is what the file says; a relative path that is there
// counts from the file's folder.
//   Errors: kBadData naming the file, the line, the key and the value.
Result<model::NewModelOptions> read_model_file(const std::string& path);

}  // namespace troupe::tools
