#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include <nlohmann/json.hpp>
#include <toml++/toml.h>

#include <troupe/actors/troupe.h>
#include <troupe/runtime/file.h>
#include <troupe/tools/troupe/daemon/settings.h>
#include <troupe/tools/troupe/terminal/units.h>

namespace troupe::tools {
namespace {

constexpr std::size_t kFileBytesMax = 1u << 20;
constexpr int kThreadsMax = 1024;

Status wrong(std::string ending) { return {Code::kInvalidArgument, std::move(ending)}; }

// Returns ok, or the end of a sentence that begins with the place where the value was given.
Status check_value(const Setting& setting, const std::string& text) {
  switch (setting.kind) {
    case SettingKind::kText: {
      const bool control = std::any_of(text.begin(), text.end(),
                                       [](unsigned char c) { return c < 0x20 || c == 0x7f; });
      if (control) return wrong("takes one line without control characters");
      return Status::ok();
    }
    case SettingKind::kSwitch:
      if (text == "true" || text == "false") return Status::ok();
      return wrong("takes true or false");
    case SettingKind::kThreads: {
      const bool digits = !text.empty() && text.size() < 6 &&
                          text.find_first_not_of("0123456789") == std::string::npos;
      const int count = digits ? std::atoi(text.c_str()) : 0;
      if (count >= 1 && count <= kThreadsMax) return Status::ok();
      return wrong("takes a whole number from 1 to " + std::to_string(kThreadsMax));
    }
    case SettingKind::kBytes:
      return parse_bytes(text).status();
    case SettingKind::kDuration:
      return parse_duration(text, true).status();
  }
  return Status::ok();
}

// Returns "true" or "false" for what a variable of the environment may say of a switch (also 1 and
// 0, yes and no), and any other text as it is.
std::string plain_switch(const std::string& text) {
  if (text == "1" || text == "yes" || text == "on") return "true";
  if (text == "0" || text == "no" || text == "off") return "false";
  return text;
}

const Setting* find_setting(const std::string& key) {
  const auto& all = start_settings();
  const auto found =
      std::find_if(all.begin(), all.end(), [&](const Setting& s) { return key == s.key; });
  return found == all.end() ? nullptr : &*found;
}

std::string known_keys() {
  std::string text;
  for (const Setting& setting : start_settings()) {
    text += (text.empty() ? "" : ", ") + std::string(setting.key);
  }
  return text;
}

// Returns the value as it is in the file, on one line.
std::string source_of(const toml::node& node) {
  std::string text;
  if (const auto* s = node.as_string()) {
    text = "\"" + s->get() + "\"";
  } else if (const auto* i = node.as_integer()) {
    text = std::to_string(i->get());
  } else if (const auto* b = node.as_boolean()) {
    text = b->get() ? "true" : "false";
  } else if (const auto* f = node.as_floating_point()) {
    text = nlohmann::json(f->get()).dump();
  } else if (node.is_table()) {
    text = "a table";
  } else if (node.is_array()) {
    text = "an array";
  } else {
    text = "a date or time";
  }
  std::replace_if(
      text.begin(), text.end(), [](unsigned char c) { return c < 0x20; }, ' ');
  return text.size() > 120 ? text.substr(0, 117) + "..." : text;
}

// Returns the value of a TOML node as a flag would have it. An error is the end of a sentence.
Result<std::string> text_of_node(const Setting& setting, const toml::node& node) {
  const auto* string = node.as_string();
  const auto* integer = node.as_integer();
  const bool number = setting.kind == SettingKind::kThreads ||
                      setting.kind == SettingKind::kBytes || setting.kind == SettingKind::kDuration;
  if (setting.kind == SettingKind::kSwitch) {
    if (const auto* on = node.as_boolean()) return std::string(on->get() ? "true" : "false");
    return wrong("takes true or false, without quotes");
  }
  if (number && integer != nullptr) return std::to_string(integer->get());
  if (setting.kind == SettingKind::kThreads) {
    return wrong("takes a whole number, without quotes");
  }
  if (string == nullptr) return wrong("takes a text in quotes");
  if (string->get().empty()) return wrong("is empty: give it a value or leave the line out");
  return string->get();
}

// Returns a value as it may be shown. Values that let others in are hidden.
std::string shown(const std::string& key, const std::string& text) {
  const std::size_t at = text.rfind('@');
  if (key != "join" || at == std::string::npos) return text;
  return text.substr(0, std::min<std::size_t>(at, 8)) + "..." + text.substr(at);
}

}  // namespace

const std::vector<Setting>& start_settings() {
  static const std::vector<Setting> kSettings = {
      {"head", SettingKind::kSwitch, "", "false",
       "Be the head of a new cluster (the default without --join, if the home has joined none)"},
      {"no-work", SettingKind::kSwitch, "", "false", "Be a head that holds no layers itself"},
      {"approve", SettingKind::kSwitch, "", "false",
       "For a head: newcomers with a token also wait for `troupe key approve NAME`"},
      {"join", SettingKind::kText, "TOKEN@HOST:PORT", "",
       "Be a node of the cluster that printed this"},
      {"join-file", SettingKind::kText, "FILE", "",
       "Read what --join would take from a file, so that nobody sees it in the command line"},
      {"home", SettingKind::kText, "DIR", "",
       "Folder of the keys, the store and the journal [~/.troupe]"},
      {"listen", SettingKind::kText, "HOST:PORT", "",
       "Listen here for control, and on the next two ports for tensors [a head: 127.0.0.1:7700; a "
       "node: the address from which it reaches its head, and the first three free ports from 7700 "
       "on]"},
      {"advertise", SettingKind::kText, "HOST:PORT", "", "Address that others dial, if it differs"},
      {"name", SettingKind::kText, "NAME", "", "Name in the cluster [host name]"},
      {"threads", SettingKind::kThreads, "N", "", "Compute threads [every usable CPU]"},
      {"memory", SettingKind::kBytes, "SIZE", "",
       "Memory for layers and their keys and values, e.g. 4GiB "
       "[what this machine and its control group have left, shared by the nodes of the machine]"},
      {"device", SettingKind::kText, "DEVICE,...", "cpu",
       "What computes: cpu, a GPU such as cuda:0, or a list such as cuda:0,cpu; if the daemon is "
       "a head or also uses its CPU, each GPU is a node and a process of its own"},
      {"keep-alive", SettingKind::kDuration, "TIME", "5m",
       "How long a model stays loaded after its last request: 5m, 0, forever (for a head)"},
      {"no-speculation", SettingKind::kSwitch, "", "false",
       "For a head: compute one token of an answer in each step, and draft none"},
      {"http", SettingKind::kText, "HOST:PORT", "",
       "For a head: also answer HTTP requests in OpenAI's form here (see `troupe serve`)"},
      {"http-models", SettingKind::kText, "MODEL,...", "", "With --http: the models to serve"},
      {"http-api-key-file", SettingKind::kText, "FILE", "",
       "With --http: require an API key from this file"},
      {"http-shared-prompts", SettingKind::kText, "FILE,...", "",
       "With --http: system prompts that are not secret, each computed once for all keys"},
      {"http-keep-streams", SettingKind::kDuration, "TIME", "10m",
       "With --http: how long a client may continue a stream that ended or broke; 0: never, and no "
       "prompt is written to the disk"},
      {"slurm", SettingKind::kSwitch, "", "false",
       "Under srun: task 0 is the head, the others join it with --token-file"},
      {"token-file", SettingKind::kText, "FILE", "",
       "With --slurm: the file with the token, which all tasks must be able to read"},
      {"daemon", SettingKind::kSwitch, "", "false",
       "Run in the background: returns when the daemon is ready; the log is HOME/log"},
      {"log", SettingKind::kText, "LEVEL", "info", "debug, info, warning, error or off"},
  };
  return kSettings;
}

std::string variable_of(const std::string& key) {
  std::string name = "TROUPE_" + key;
  for (char& c : name) c = c == '-' ? '_' : static_cast<char>(std::toupper(c));
  return name;
}

Status Settings::read_file(const std::string& name, bool own) {
  std::error_code error;
  if (own && !std::filesystem::exists(name, error)) return Status::ok();
  const Result<std::string> content = troupe::read_file(name, kFileBytesMax);
  if (content.code() == Code::kInvalidArgument) return {Code::kBadData, content.message()};
  TROUPE_RETURN_IF_ERROR(content.status());
  toml::table table;
  try {
    table = toml::parse(*content, name);
  } catch (const toml::parse_error& failure) {
    return Status(Code::kBadData, name + ":" + std::to_string(failure.source().begin.line) +
                                      ": not TOML: " + std::string(failure.description()));
  }
  for (const auto& [toml_key, node] : table) {
    const std::string key(toml_key.str());
    const std::string from = name + ":" + std::to_string(toml_key.source().begin.line);
    const std::string at = from + ": " + key + " = " + source_of(node);
    const Setting* setting = find_setting(key);
    if (setting == nullptr) {
      return Status(Code::kBadData,
                    at + ": there is no setting of this name; known are " + known_keys());
    }
    if (own && key == "home") {
      return Status(Code::kBadData,
                    at + ": the file in a home cannot say where the home is; give --home, "
                         "TROUPE_HOME, or another file with --config");
    }
    const Result<std::string> text = text_of_node(*setting, node);
    if (!text) return Status(Code::kBadData, at + ": " + key + " " + text.message());
    const Status fits = check_value(*setting, *text);
    if (!fits) return Status(Code::kBadData, at + ": " + key + " " + fits.message());
    SettingValue& value = values_[key];
    if (value.origin == Origin::kFallback) value = {*text, Origin::kFile, from};
  }
  return Status::ok();
}

void Settings::exclude(const std::string& a, const std::string& b) {
  const auto counts = [&](const std::string& key) { return given(key) && text(key) != "false"; };
  if (!counts(a) || !counts(b) || value(a).origin == value(b).origin) return;
  const std::string& weaker = value(a).origin < value(b).origin ? b : a;
  values_[weaker] = {find_setting(weaker)->fallback, Origin::kFallback, "default"};
}

Result<Settings> Settings::collect(const std::map<std::string, std::string>& flags,
                                   const std::string& config) {
  Settings settings;
  for (const Setting& setting : start_settings()) {
    SettingValue& value = settings.values_[setting.key];
    value = {setting.fallback, Origin::kFallback, "default"};
    const std::string variable = variable_of(setting.key);
    const char* environment = std::getenv(variable.c_str());
    std::string name;
    if (const auto flag = flags.find(setting.key); flag != flags.end()) {
      name = std::string("--") + setting.key;
      value = {flag->second, Origin::kFlag, name};
    } else if (environment != nullptr && *environment != '\0') {
      name = variable;
      const bool is_switch = setting.kind == SettingKind::kSwitch;
      value = {is_switch ? plain_switch(environment) : environment, Origin::kVariable, name};
    } else {
      continue;
    }
    const Status fits = check_value(setting, value.text);
    if (!fits) {
      return Status(Code::kInvalidArgument,
                    name + " " + fits.message() + ", not '" + value.text.substr(0, 120) + "'");
    }
  }
  const auto home = [&] {
    return std::filesystem::absolute(resolve_home(settings.text("home"))).string();
  };
  const bool own = config.empty();
  TROUPE_RETURN_IF_ERROR(settings.read_file(own ? home() + "/config.toml" : config, own));
  settings.values_["home"].text = home();
  settings.exclude("head", "join");
  settings.exclude("no-work", "join");
  settings.exclude("head", "join-file");
  settings.exclude("no-work", "join-file");
  settings.exclude("join", "join-file");
  return settings;
}

void Settings::set(const std::string& key, const std::string& text, const std::string& from) {
  values_[key] = {text, Origin::kFlag, from};
}

void Settings::show_as(const std::string& key, const std::string& text, const std::string& from) {
  SettingValue& value = values_[key];
  value.text = text;
  value.from = from;
}

nlohmann::json Settings::json() const {
  nlohmann::json all = nlohmann::json::object();
  for (const auto& [key, value] : values_) {
    all[key] = {{"value", shown(key, value.text)}, {"from", value.from}};
  }
  return all;
}

std::vector<std::vector<std::string>> Settings::rows() const {
  std::vector<std::vector<std::string>> rows = {{"SETTING", "VALUE", "FROM"}};
  for (const Setting& setting : start_settings()) {
    const SettingValue& each = value(setting.key);
    rows.push_back(
        {setting.key, each.text.empty() ? "-" : shown(setting.key, each.text), each.from});
  }
  return rows;
}

}  // namespace troupe::tools
