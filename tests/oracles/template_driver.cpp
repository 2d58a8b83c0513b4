// Renders chat templates for the test that compares them with Jinja2.
//   template_driver < requests > answers
// requests: [{"template", "messages", "tools", "variables", "bos", "eos", "add_generation_prompt"}]
// answers: [{"text"} or {"error", "refused": the template itself said no}]
#include <iostream>
#include <iterator>

#include <nlohmann/json.hpp>

#include <troupe/model/chat/chat_template.h>

using namespace troupe;
using namespace troupe::model;

namespace {

nlohmann::json answer(const nlohmann::ordered_json& request) {
  const auto render = [&]() -> Result<RenderedChat> {
    TROUPE_ASSIGN_OR_RETURN(const auto parsed,
                            ChatTemplate::parse(request.at("template").get<std::string>()));
    ChatContext context;
    context.add_generation_prompt = request.at("add_generation_prompt").get<bool>();
    context.bos = request.at("bos").get<std::string>();
    context.eos = request.at("eos").get<std::string>();
    if (!request.at("tools").is_null()) context.tools = request.at("tools").dump();
    if (!request.at("variables").is_null()) context.variables = request.at("variables").dump();
    context.now = local_time();
    return parsed->render_json(request.at("messages").dump(), context);
  };
  const Result<RenderedChat> chat = render();
  if (chat.is_ok()) return {{"text", chat->text}};
  return {{"error", chat.message()}, {"refused", chat.code() == Code::kInvalidArgument}};
}

}  // namespace

int main() {
  const std::string input((std::istreambuf_iterator<char>(std::cin)), {});
  nlohmann::json answers = nlohmann::json::array();
  for (const auto& request : nlohmann::ordered_json::parse(input)) {
    answers.push_back(answer(request));
  }
  std::cout << answers.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << "\n";
  return 0;
}
