#include <troupe/model/jinja/error.h>

namespace troupe::model::jinja {

Status template_error(int line, const std::string& what, Code code) {
  return Status(code, "the chat template, line " + std::to_string(line) + ": " + what);
}

}  // namespace troupe::model::jinja
