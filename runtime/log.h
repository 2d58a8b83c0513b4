#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

// The library's only voice: a process-wide sink that the embedding program sets. Without one the
// library is silent. Any thread may log; the sink must be callable from any thread at once.

namespace troupe {

enum class LogLevel : int { kDebug = 0, kInfo = 1, kWarning = 2, kError = 3 };

using LogSink = std::function<void(LogLevel, std::string_view message)>;

// Log lines quote peers, files and servers. Before a sink gets one, control characters and bytes
// that are no UTF-8 are written as \xNN, so that no line can be forged and no terminal be steered,
// and what follows its first kLogBytesMax bytes is cut.
constexpr std::size_t kLogBytesMax = 4096;

// Replaces the sink; an empty one silences the library. Messages below `least` are not built.
void set_log_sink(LogSink sink, LogLevel least = LogLevel::kInfo);
bool log_enabled(LogLevel level);
void log(LogLevel level, std::string_view message);

}  // namespace troupe
