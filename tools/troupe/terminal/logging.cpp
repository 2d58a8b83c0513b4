#include <algorithm>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <troupe/tools/troupe/terminal/logging.h>

namespace troupe::tools {
namespace {

constexpr int kOff = static_cast<int>(LogLevel::kError) + 1;

std::optional<int> level_of(const std::string& text) {
  static const std::pair<const char*, int> kLevels[] = {
      {"debug", 0}, {"info", 1}, {"warning", 2}, {"error", 3}, {"off", kOff}};
  for (const auto& [name, level] : kLevels) {
    if (text == name) return level;
  }
  return std::nullopt;
}

int level_from_environment(int otherwise) {
  const char* text = std::getenv("TROUPE_LOG");
  return level_of(text != nullptr ? text : "").value_or(otherwise);
}

spdlog::level::level_enum to_spdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
  }
  return spdlog::level::info;
}

}  // namespace

bool is_log_level(const std::string& text) { return level_of(text).has_value(); }

Status check_log_variable() {
  const char* text = std::getenv("TROUPE_LOG");
  if (text == nullptr || *text == '\0' || is_log_level(text)) return Status::ok();
  return Status(Code::kInvalidArgument, "TROUPE_LOG is '" + std::string(text) +
                                            "', expected debug, info, warning, error or off");
}

void set_up_logging(LogLevel least, int verbose, const std::string& word) {
  const int otherwise = level_from_environment(std::max(0, static_cast<int>(least) - verbose));
  const int level = level_of(word).value_or(otherwise);
  if (level >= kOff) {
    set_log_sink({});
    return;
  }
  auto logger = std::make_shared<spdlog::logger>(
      "troupe", std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
  logger->set_pattern("%Y-%m-%dT%H:%M:%S.%e %^%l%$ %v");
  logger->set_level(spdlog::level::debug);
  set_log_sink(
      [logger](LogLevel at, std::string_view message) {
        logger->log(to_spdlog(at), spdlog::string_view_t(message.data(), message.size()));
      },
      static_cast<LogLevel>(level));
}

}  // namespace troupe::tools
