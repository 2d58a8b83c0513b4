#include <algorithm>
#include <cstdio>

#include <nlohmann/json.hpp>

#include <troupe/tools/troupe/terminal/output.h>

namespace troupe::tools {

std::string without_secrets(std::string text) {
  constexpr std::string_view kScheme = "://", kMask = "***";
  for (std::size_t at = text.find(kScheme); at != text.npos; at = text.find(kScheme, at)) {
    at += kScheme.size();
    std::size_t end = std::min(text.find_first_of("/?# \t\n\"'", at), text.size());
    // A password may contain one of these characters unescaped. The result is not a valid address,
    // but the password must still not be shown: after a colon, everything up to the last '@'
    // counts.
    if (text.substr(at, end - at).find(':') != text.npos) {
      end = std::min(text.find_first_of(" \t\n\"'", at), text.size());
    }
    const std::size_t host = text.substr(0, end).rfind('@');
    if (host != text.npos && host >= at) text.replace(at, host - at, kMask);
  }
  return text;
}

void say(std::string_view text) {
  const std::string line = "troupe: " + without_secrets(std::string(text)) + "\n";
  std::fwrite(line.data(), 1, line.size(), stderr);
}

int exit_status(Code code) {
  if (code == Code::kOk) return kExitOk;
  return code == Code::kInvalidArgument ? kExitUsage : kExitFailure;
}

nlohmann::json error_json(const Status& status) {
  return {{"code", std::string(code_name(status.code()))},
          {"message", without_secrets(status.message())}};
}

int fail(const Status& status, bool json) {
  say(status.message());
  if (json) {
    print_json({{"error", error_json(status)}});
  }
  return exit_status(status.code());
}

int give_text(const Result<std::string>& text, bool json) {
  if (!text.is_ok()) return fail(text.status(), json);
  if (json) {
    print_json({{"text", *text}});
  } else {
    std::fwrite(text->data(), 1, text->size(), stdout);
  }
  return kExitOk;
}

void print_json(const nlohmann::json& value) {
  const std::string text =
      value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

std::string table_text(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()), 0);
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      text += row[i];
      if (i + 1 < row.size()) text += std::string(widths[i] - row[i].size() + 2, ' ');
    }
    text += '\n';
  }
  return text;
}

void print_table(const std::vector<std::vector<std::string>>& rows) {
  const std::string text = table_text(rows);
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

std::string format_bytes(std::uint64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "kB", "MB", "GB", "TB", "PB"};
  double value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1000.0 && unit + 1 < std::size(kUnits)) {
    value /= 1000.0;
    ++unit;
  }
  return format_number(value, unit == 0 ? 0 : 1) + " " + kUnits[unit];
}

std::string format_number(double value, int decimals) {
  char buffer[64];
  std::snprintf(buffer, sizeof buffer, "%.*f", decimals, value);
  return buffer;
}

}  // namespace troupe::tools
