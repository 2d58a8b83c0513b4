#pragma once

#include <string>

#include <troupe/model/files/gguf.h>

// Finds a model's chat template. In a GGUF file it is tokenizer.chat_template; in a Hugging Face
// folder it is chat_template.jinja, with further templates in additional_chat_templates, else
// "chat_template" of tokenizer_config.json, else that of chat_template.json. Pure; any thread may
// call.

namespace troupe::model {

// Returns the source of the template, or "" if the model has none. Of several templates it takes
// the one named "default", or "tool_use" if `with_tools` and there is one of that name.
//   Errors: kBadData naming the file and what is wrong in it.
Result<std::string> chat_source(const GgufHeader& header, bool with_tools);

}  // namespace troupe::model
