// Feeds any bytes as a chat template: parsing and rendering must be bounded, whatever it says.
#include <cstdint>
#include <string_view>

#include <troupe/model/chat/chat_template.h>

namespace {

constexpr std::string_view kMessages =
    R"([{"role": "system", "content": [{"type": "text", "text": "s"}]},
        {"role": "user", "content": "Hello \u00fc <|im_end|>"},
        {"role": "assistant", "content": null, "tool_calls": [
          {"id": "a1b2c3d4e", "type": "function",
           "function": {"name": "f", "arguments": {"x": [1, 2.5, true, null]}}}]},
        {"role": "tool", "content": "1", "tool_call_id": "a1b2c3d4e"},
        {"role": "assistant", "content": "<think>\nHm\n</think>\n\nOne."}])";
constexpr const char* kTools =
    R"([{"type": "function", "function": {"name": "f", "description": "d", "parameters": {
          "type": "object", "required": ["x"], "properties": {
            "x": {"type": "array", "items": {"type": "number"}, "description": "x"}}}}}])";
constexpr const char* kVariables =
    R"({"documents": [{"title": "t", "text": "x"}], "enable_thinking": false})";

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view source(reinterpret_cast<const char*>(data), size);
  const auto parsed = troupe::model::ChatTemplate::parse(source);
  if (!parsed) return 0;
  troupe::model::ChatContext context;
  context.bos = "<s>";
  context.eos = "</s>";
  context.now = std::tm{};
  (void)(*parsed)->render_marked({{"system", "s"}, {"user", "Hello"}, {"assistant", "Hi"}},
                                 context);
  context.tools = kTools;
  context.variables = kVariables;
  (void)(*parsed)->render_json(kMessages, context);
  return 0;
}
