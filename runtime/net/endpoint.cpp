#include <charconv>

#include <troupe/runtime/net/transport.h>

namespace troupe::net {
namespace {

// The longest host name that DNS knows.
constexpr std::size_t kHostCharactersMax = 253;

Status bad(const std::string& text, const std::string& why) {
  std::string message = "not HOST:PORT but '";
  message += text.substr(0, 300) + "': " + why;
  message += "; write e.g. 127.0.0.1:7700, [::1]:7700 or name:7700";
  return Status(Code::kInvalidArgument, std::move(message));
}

}  // namespace

Result<Endpoint> parse_endpoint(const std::string& text) {
  std::string host, port;
  if (text.starts_with('[')) {
    const std::size_t close = text.find(']');
    if (close == std::string::npos) return bad(text, "the bracket is not closed");
    host = text.substr(1, close - 1);
    if (host.find(':') == std::string::npos) return bad(text, "no IPv6 address in the brackets");
    if (close + 1 >= text.size() || text[close + 1] != ':') return bad(text, "the port is missing");
    port = text.substr(close + 2);
  } else {
    const std::size_t colon = text.find(':');
    if (colon == std::string::npos) return bad(text, "the port is missing");
    if (text.find(':', colon + 1) != std::string::npos) {
      return bad(text, "an IPv6 address needs brackets");
    }
    host = text.substr(0, colon);
    port = text.substr(colon + 1);
  }
  if (host.empty()) return bad(text, "the host is missing");
  if (host.size() > kHostCharactersMax) return bad(text, "the host is too long");
  for (const char c : host) {
    const bool known = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                       c == '.' || c == '-' || c == '_' || c == ':' || c == '%';
    if (!known) return bad(text, std::string("the host has the character '") + c + "'");
  }
  unsigned value = 0;
  const char* end = port.data() + port.size();
  const auto [stop, error] = std::from_chars(port.data(), end, value);
  if (port.empty() || error != std::errc{} || stop != end || value > 65535 || value == 0) {
    return bad(text, "the port must be a number from 1 to 65535");
  }
  return Endpoint{host, static_cast<std::uint16_t>(value)};
}

std::string to_string(const Endpoint& endpoint) {
  const bool literal6 = endpoint.host.find(':') != std::string::npos;
  std::string text;
  if (literal6) text += '[';
  text += endpoint.host;
  if (literal6) text += ']';
  return text + ":" + std::to_string(endpoint.port);
}

}  // namespace troupe::net
