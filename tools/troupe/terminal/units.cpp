#include <charconv>
#include <cmath>
#include <iterator>

#include <troupe/tools/troupe/terminal/output.h>
#include <troupe/tools/troupe/terminal/units.h>

namespace troupe::tools {
namespace {

struct Unit {
  const char* name;
  double factor;
};

// Takes the number at the beginning of `text` and leaves what follows. Returns false if there is
// none.
bool take_number(std::string_view& text, double* value) {
  const auto [stop, error] =
      std::from_chars(text.data(), text.data() + text.size(), *value, std::chars_format::fixed);
  if (error != std::errc{} || *value < 0) return false;
  text.remove_prefix(static_cast<std::size_t>(stop - text.data()));
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  return true;
}

}  // namespace

Result<std::uint64_t> parse_bytes(std::string_view text) {
  static constexpr Unit kUnits[] = {{"", 1},
                                    {"B", 1},
                                    {"kB", 1e3},
                                    {"KB", 1e3},
                                    {"MB", 1e6},
                                    {"GB", 1e9},
                                    {"TB", 1e12},
                                    {"KiB", 1024.0},
                                    {"MiB", 1048576.0},
                                    {"GiB", 1073741824.0},
                                    {"K", 1024.0},
                                    {"M", 1048576.0},
                                    {"G", 1073741824.0},
                                    {"TiB", 1099511627776.0}};
  const Status wrong(Code::kInvalidArgument, "takes a size such as 4GiB, 512MiB or 2GB");
  double value = 0;
  if (!take_number(text, &value)) return wrong;
  for (const Unit& unit : kUnits) {
    if (text != unit.name) continue;
    const double bytes = std::floor(value * unit.factor);
    // A double holds all whole numbers up to 2^53, which is 8 PiB.
    if (!(bytes >= 1 && bytes <= 9007199254740992.0)) return wrong;
    return static_cast<std::uint64_t>(bytes);
  }
  return wrong;
}

Result<std::int64_t> parse_duration(std::string_view text, bool forever) {
  static constexpr Unit kUnits[] = {{"", 1}, {"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}};
  const Status wrong(Code::kInvalidArgument, std::string("takes a time such as 90s, 5m or 24h") +
                                                 (forever ? ", or forever" : ""));
  if (forever && text == "forever") return kForever;
  double value = 0;
  if (!take_number(text, &value)) return wrong;
  for (const Unit& unit : kUnits) {
    if (text != unit.name) continue;
    const double seconds = std::ceil(value * unit.factor);
    if (!(seconds <= 1e9)) return wrong;
    return static_cast<std::int64_t>(seconds);
  }
  return wrong;
}

std::string format_duration(std::int64_t seconds) {
  if (seconds < 0) return "forever";
  if (seconds < 60) return std::to_string(seconds) + "s";
  const std::int64_t minutes = seconds / 60, hours = minutes / 60, days = hours / 24;
  const auto two = [](std::int64_t large, const char* of, std::int64_t small, const char* name) {
    std::string text = std::to_string(large) + of;
    if (small != 0) text += " " + std::to_string(small) + name;
    return text;
  };
  if (hours == 0) return two(minutes, "m", seconds % 60, "s");
  if (days == 0) return two(hours, "h", minutes % 60, "m");
  return two(days, "d", hours % 24, "h");
}

std::string format_binary_bytes(std::uint64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  double value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1024.0 && unit + 1 < std::size(kUnits)) {
    value /= 1024.0;
    ++unit;
  }
  return format_number(value, unit == 0 ? 0 : 1) + " " + kUnits[unit];
}

}  // namespace troupe::tools
