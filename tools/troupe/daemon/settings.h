#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include <troupe/runtime/status.h>

// The settings of `troupe start`. One row each: it is the flag --KEY, the variable TROUPE_KEY
// (upper case, _ for -) and the key of a TOML file; the first of them that is given counts. Pure
// but for the file and the environment that it reads.

namespace troupe::tools {

enum class SettingKind { kText, kSwitch, kThreads, kBytes, kDuration };

struct Setting {
  const char* key;
  SettingKind kind;
  const char* type_name;  // of the value, in --help; "" for a switch
  const char* fallback;   // what counts when nothing is given; "" when it depends
  const char* help;
};
const std::vector<Setting>& start_settings();

// Where a value came from; a later one gives way to an earlier one.
enum class Origin { kFlag, kVariable, kFile, kFallback };

struct SettingValue {
  std::string text;
  Origin origin = Origin::kFallback;
  std::string from;  // "--listen", "TROUPE_LISTEN", "FILE:3", "default"
};

class Settings {
 public:
  // `flags` are those of the command line; `config` the file of --config or "" for
  // HOME/config.toml, which may be absent. The value of "home" is then where it is.
  //   Errors: kInvalidArgument (a flag or variable with a wrong value), kBadData and kNotFound (the
  //   file: with its name, the line, the key and the value).
  static Result<Settings> collect(const std::map<std::string, std::string>& flags,
                                  const std::string& config);

  const SettingValue& value(const std::string& key) const { return values_.at(key); }
  const std::string& text(const std::string& key) const { return value(key).text; }
  bool given(const std::string& key) const { return value(key).origin != Origin::kFallback; }
  bool is_on(const std::string& key) const { return text(key) == "true"; }
  // A value that is as good as one given: `from` says by what.
  void set(const std::string& key, const std::string& text, const std::string& from);
  // What follows from other things than flags, variables and files: shown, and no more.
  void show_as(const std::string& key, const std::string& text, const std::string& from);

  // {"listen":{"value":"127.0.0.1:7700","from":"default"},...}
  nlohmann::json json() const;
  // The rows of a table: key, value, origin.
  std::vector<std::vector<std::string>> rows() const;

 private:
  // `own`: the file of the home itself, which may be absent and cannot say where the home is.
  Status read_file(const std::string& path, bool own);
  // Two settings exclude each other: the one of the later origin gives way.
  void exclude(const std::string& a, const std::string& b);
  std::map<std::string, SettingValue> values_;
};

// TROUPE_KEEP_ALIVE for keep-alive.
std::string variable_of(const std::string& key);

}  // namespace troupe::tools
