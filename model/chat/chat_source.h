#pragma once

#include <string>

#include <troupe/model/files/gguf.h>

// Where a model has its chat template: tokenizer.chat_template of a GGUF file; of a Hugging Face
// folder chat_template.jinja, else "chat_template" of tokenizer_config.json, else the one of
// chat_template.json. Pure; any thread.

namespace troupe::model {

// The source of the template, "" when the model has none. Where there are several by name, it is
// "default"; `with_tools`: "tool_use" where there is one of that name.
//   Errors: kBadData naming the file and what is wrong in it.
Result<std::string> chat_source(const GgufHeader& header, bool with_tools);

}  // namespace troupe::model
