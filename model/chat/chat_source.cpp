#include <string_view>
#include <utility>

#include <troupe/model/chat/chat_source.h>
#include <troupe/model/files/header_keys.h>
#include <troupe/runtime/text/bounded_json.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model {
namespace {

using nlohmann::json;

constexpr JsonLimits kLimits = {
    .bytes_max = std::size_t{64} << 20, .depth_max = 64, .python = true};
constexpr std::string_view kToolUse = "tool_use", kDefault = "default";

// Chooses from [{"name": ..., "template": ...}, ...].
Result<std::string> choose(const json& list, bool with_tools, const std::string& file) {
  const std::string where = file + ": \"chat_template\"";
  std::string names, fallback;
  bool has_fallback = false;
  for (const json& one : list) {
    const bool whole = one.is_object() && one.contains("name") && one["name"].is_string() &&
                       one.contains("template") && one["template"].is_string();
    if (!whole) {
      return Status(Code::kBadData,
                    where + " has an entry that is not an object of a name and a template");
    }
    const std::string& name = one["name"].get_ref<const std::string&>();
    if (with_tools && name == kToolUse) return one["template"].get<std::string>();
    if (name == kDefault) {
      has_fallback = true;
      fallback = one["template"].get<std::string>();
    }
    names += (names.empty() ? "" : ", ") + in_quotes(name, 40);
  }
  if (has_fallback) return fallback;
  return Status(Code::kBadData, where + " has no template of the name \"default\"" +
                                    (names.empty() ? std::string() : "; it has " + names));
}

// Returns "chat_template" of a JSON file, or "" if it has none.
Result<std::string> from_json(const std::string& text, bool with_tools, const std::string& file) {
  TROUPE_ASSIGN_OR_RETURN(const json object, parse_json(text, file, kLimits));
  if (!object.is_object())
    return Status(Code::kBadData,
                  file + ": the text is not an object; take the file from where the model is from");
  const auto found = object.find("chat_template");
  if (found == object.end() || found->is_null()) return std::string();
  if (found->is_string()) return found->get<std::string>();
  if (found->is_array()) return choose(*found, with_tools, file);
  return Status(Code::kBadData, file + ": \"chat_template\" is of type " + found->type_name() +
                                    ", expected a string or a list of templates");
}

}  // namespace

Result<std::string> chat_source(const GgufHeader& header, bool with_tools) {
  const auto has = [&](std::string_view key) { return header.metadata.contains(key); };
  constexpr std::string_view kGguf = "tokenizer.chat_template";
  constexpr std::string_view kGgufTools = "tokenizer.chat_template.tool_use";
  if (with_tools && has(kGgufTools)) return header.string(kGgufTools);
  if (has(kGguf)) return header.string(kGguf);
  if (with_tools && has(header_keys::kToolTemplateJinja)) {
    return header.string(header_keys::kToolTemplateJinja);
  }
  for (const std::string_view key :
       {header_keys::kDefaultTemplateJinja, header_keys::kChatTemplateJinja}) {
    if (has(key)) return header.string(key);
  }
  const std::pair<std::string_view, const char*> kJsonFiles[] = {
      {header_keys::kTokenizerConfigJson, "tokenizer_config.json"},
      {header_keys::kChatTemplateJson, "chat_template.json"}};
  for (const auto& [key, file] : kJsonFiles) {
    if (!has(key)) continue;
    TROUPE_ASSIGN_OR_RETURN(const std::string text, header.string(key));
    TROUPE_ASSIGN_OR_RETURN(std::string source, from_json(text, with_tools, file));
    if (!source.empty()) return source;
  }
  return std::string();
}

}  // namespace troupe::model
