#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include <troupe/runtime/status.h>

// What the command prints: results on stdout, everything else on stderr, and with --json one JSON
// object at the end. Main thread only, except for `say`.

namespace troupe::tools {

constexpr int kExitOk = 0;
constexpr int kExitFailure = 1;
constexpr int kExitUsage = 2;
constexpr int kExitInterrupted = 130;  // 128 + SIGINT, as in shells
constexpr int kExitTerminated = 143;   // 128 + SIGTERM

// Removes passwords from addresses in a message: https://USER:PASSWORD@HOST becomes
// https://***@HOST. If an address has a colon before its path, everything up to the last '@' is
// removed, even if that is in the path, because a password may contain a '/' that should have been
// escaped.
std::string without_secrets(std::string text);
// Prints "troupe: TEXT" on stderr, without secrets. Any thread.
void say(std::string_view text);
// Prints the reason on stderr; with `json`, also prints {"error":{"code","message"}}. Returns the
// exit status: 2 for kInvalidArgument, else 1.
int fail(const Status& status, bool json);
// Returns {"code","message"}, the value of "error" in every object.
nlohmann::json error_json(const Status& status);
// Returns the exit status for a code.
int exit_status(Code code);

// Prints one line on stdout and flushes; bytes that are not UTF-8 become U+FFFD.
void print_json(const nlohmann::json& value);
// For a verb whose result is one text: prints the text as it is, or {"text"} with `json`, or what
// fail() prints if there is none. Returns the exit status.
int give_text(const Result<std::string>& text, bool json);
// Prints rows under a header on stdout, with aligned columns.
void print_table(const std::vector<std::vector<std::string>>& rows);
std::string table_text(const std::vector<std::vector<std::string>>& rows);

// Returns a size such as "98.4 MB" (powers of ten, as disks and networks count).
std::string format_bytes(std::uint64_t bytes);
// Turns 12.34 into "12.3".
std::string format_number(double value, int decimals);

}  // namespace troupe::tools
