#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

// The library's log: a process-wide sink that the embedding program sets. Without a sink the
// library is silent. Any thread may log, so the sink must be callable from several threads at once.

namespace troupe {

enum class LogLevel : int { kDebug = 0, kInfo = 1, kWarning = 2, kError = 3 };

using LogSink = std::function<void(LogLevel, std::string_view message)>;

// Log lines quote peers, files and servers. Before a sink gets a line, control characters and bytes
// that are not UTF-8 are written as \xNN, so that nobody can forge a line or control a terminal,
// and the line is cut after its first kLogBytesMax bytes.
constexpr std::size_t kLogBytesMax = 4096;

// Replaces the sink; an empty one silences the library. Messages below `least` are not built.
void set_log_sink(LogSink sink, LogLevel least = LogLevel::kInfo);
bool log_enabled(LogLevel level);
void log(LogLevel level, std::string_view message);

}  // namespace troupe
