#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include <troupe/runtime/status.h>

// What the command says: results on stdout, all else on stderr, one JSON object at the end with
// --json. Main thread only, but for `say`.

namespace troupe::tools {

constexpr int kExitOk = 0;
constexpr int kExitFailure = 1;
constexpr int kExitUsage = 2;
constexpr int kExitInterrupted = 130;  // 128 + SIGINT, as shells have it
constexpr int kExitTerminated = 143;   // 128 + SIGTERM

// What is said may hold addresses of people: https://USER:PASSWORD@HOST -> https://***@HOST.
// Of an address with a colon before its path all up to the last '@' goes, be it in the path: a
// password may have a '/' that should have been escaped.
std::string without_secrets(std::string text);
// "troupe: TEXT" on stderr, without secrets. Any thread.
void say(std::string_view text);
// Says why on stderr; with `json` also prints {"error":{"code","message"}}. Returns the exit
// status: 2 for kInvalidArgument, else 1.
int fail(const Status& status, bool json);
// {"code","message"}: what "error" is in every object.
nlohmann::json error_json(const Status& status);
// The exit status that goes with a code.
int exit_status(Code code);

// One line on stdout, flushed; bytes that are not UTF-8 become U+FFFD.
void print_json(const nlohmann::json& value);
// A verb whose result is one text: the text as it is on stdout, or {"text"} with `json`; what
// fail() says where there is none. Returns the exit status.
int give_text(const Result<std::string>& text, bool json);
// Rows under a header, columns aligned, on stdout.
void print_table(const std::vector<std::vector<std::string>>& rows);
std::string table_text(const std::vector<std::vector<std::string>>& rows);

// "98.4 MB" (powers of ten, as disks and networks count).
std::string format_bytes(std::uint64_t bytes);
// 12.34 -> "12.3"
std::string format_number(double value, int decimals);

}  // namespace troupe::tools
