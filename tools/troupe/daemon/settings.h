#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include <troupe/runtime/status.h>

// The settings of `troupe start`, one row each. A row is the flag --KEY, the variable TROUPE_KEY
// (in upper case, with _ for -) and the key of a TOML file; the first of them that is given counts.
// Pure, except for the file and the environment that it reads.

namespace troupe::tools {

enum class SettingKind { kText, kSwitch, kThreads, kBytes, kDuration };

struct Setting {
  const char* key;
  SettingKind kind;
  const char* type_name;  // the value's, in --help; "" for a switch
  const char* fallback;   // the default; "" if it depends on other things
  const char* help;
};
const std::vector<Setting>& start_settings();

// Where a value came from. Earlier entries take precedence over later ones.
enum class Origin { kFlag, kVariable, kFile, kFallback };

struct SettingValue {
  std::string text;
  Origin origin = Origin::kFallback;
  std::string from;  // "--listen", "TROUPE_LISTEN", "FILE:3", "default"
};

class Settings {
 public:
  // Reads the settings. `flags` are those of the command line, and `config` is the file of
  // --config, or "" for HOME/config.toml, which may be absent. The value of "home" afterwards is
  // the home itself.
  //   Errors: kInvalidArgument (a flag or variable with a wrong value), kBadData and kNotFound (the
  //   file; the text has its name, the line, the key and the value).
  static Result<Settings> collect(const std::map<std::string, std::string>& flags,
                                  const std::string& config);

  const SettingValue& value(const std::string& key) const { return values_.at(key); }
  const std::string& text(const std::string& key) const { return value(key).text; }
  bool given(const std::string& key) const { return value(key).origin != Origin::kFallback; }
  bool is_on(const std::string& key) const { return text(key) == "true"; }
  // Sets a value as if it had been given; `from` says where.
  void set(const std::string& key, const std::string& text, const std::string& from);
  // Sets a value that does not come from flags, variables and files. It is only shown.
  void show_as(const std::string& key, const std::string& text, const std::string& from);

  // {"listen":{"value":"127.0.0.1:7700","from":"default"},...}
  nlohmann::json json() const;
  // Returns the rows of a table: key, value, origin.
  std::vector<std::vector<std::string>> rows() const;

 private:
  // `own` means the file of the home itself, which may be absent and cannot say where the home is.
  Status read_file(const std::string& path, bool own);
  // Called for two settings that exclude each other: drops the one whose origin has the lower
  // precedence.
  void exclude(const std::string& a, const std::string& b);
  std::map<std::string, SettingValue> values_;
};

// Returns the variable of a key, such as TROUPE_KEEP_ALIVE for keep-alive.
std::string variable_of(const std::string& key);

}  // namespace troupe::tools
