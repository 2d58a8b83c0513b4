// Loads an OpenAI-compatible server with streamed chats, a given number at a time, in one thread.
//   serve_load HOST PORT MODEL --clients N --requests M --tokens T [--words W] [--seed S]
//   [--shared]
//              [--key KEY] [--system FILE] [--rate R] [--json]
// A prompt is W words and a question, drawn by (seed, number of the request): no prompt is repeated
// unless --shared says so. Answers are greedy and have T tokens each. With --rate, R requests begin
// each second whatever the server does (an open loop, in which N is not a limit). Prints one JSON
// object: requests, tokens a second, seconds to the first token, between tokens and of refusals
// (median, p95, p99), and statuses.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace {

using Clock = std::chrono::steady_clock;

constexpr const char* kWords[] = {"river",  "stone",  "cloud",  "market", "engine",
                                  "letter", "winter", "garden", "signal", "bridge",
                                  "copper", "music",  "window", "forest", "number",
                                  "travel", "paper",  "island", "station"};
constexpr size_t kReadBytes = 65536;

struct Options {
  std::string host, port, model, key, system;
  long clients = 1, requests = 16, tokens = 64, words = 40;
  unsigned long seed = 1;
  double rate = 0;  // requests per second; 0 means a closed loop
  bool shared = false;
};

// One request and what came back.
struct Stream {
  int socket = -1;
  std::string unsent, unread;  // of the request; of the response, from the last whole line on
  int status = 0;
  long tokens = 0;
  bool done = false;
  Clock::time_point began, first, last;
};

struct Figures {
  std::vector<double> first, between, refused;
  std::map<std::string, long> statuses;
  long tokens = 0, complete = 0;
};

[[noreturn]] void fail(const std::string& text) {
  std::fprintf(stderr, "serve_load: %s\n", text.c_str());
  std::exit(1);
}

double seconds(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    char code[8];
    if (c == '"' || c == '\\')
      out += {'\\', c};
    else if (static_cast<unsigned char>(c) < 0x20)
      std::snprintf(code, sizeof code, "\\u%04x", c), out += code;
    else
      out += c;
  }
  return out + '"';
}

std::string request_text(const Options& options, long number) {
  std::seed_seq seed{options.seed, options.shared ? 0ul : static_cast<unsigned long>(number) + 1};
  std::mt19937 random(seed);
  std::string prompt;
  for (long i = 0; i < options.words; ++i)
    prompt += std::string(kWords[random() % std::size(kWords)]) + ' ';
  prompt += "Question " + std::to_string(number) + ": tell a story.";
  std::string messages;
  if (!options.system.empty())
    messages = "{\"role\":\"system\",\"content\":" + quoted(options.system) + "},";
  const std::string body = "{\"model\":" + quoted(options.model) + ",\"messages\":[" + messages +
                           "{\"role\":\"user\",\"content\":" + quoted(prompt) +
                           "}],\"max_tokens\":" + std::to_string(options.tokens) +
                           ",\"stream\":true,\"temperature\":0,\"ignore_eos\":true,\"stream_"
                           "options\":{\"include_usage\":true}}";
  const std::string key =
      options.key.empty() ? "" : "Authorization: Bearer " + options.key + "\r\n";
  return "POST /v1/chat/completions HTTP/1.1\r\nHost: " + options.host + ":" + options.port +
         "\r\nContent-Type: application/json\r\nConnection: close\r\n" + key +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

Stream begin(const Options& options, long number) {
  Stream stream;
  stream.began = stream.last = Clock::now();
  stream.unsent = request_text(options, number);
  stream.socket = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(std::stoi(options.port)));
  if (::inet_pton(AF_INET, options.host.c_str(), &address.sin_addr) != 1)
    fail("HOST must be an IPv4 address");
  if (stream.socket < 0 ||
      ::connect(stream.socket, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
    fail("cannot connect to " + options.host + ":" + options.port + ": " + std::strerror(errno));
  const int on = 1;
  ::setsockopt(stream.socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return stream;
}

// Returns the number after `"name":` in a line, or -1.
long number_after(std::string_view line, std::string_view name) {
  const size_t at = line.find(name);
  return at == line.npos ? -1 : std::strtol(line.data() + at + name.size(), nullptr, 10);
}

// Reads a line, which is an event here. Lines that are none (chunks' sizes, empty ones) are passed
// over.
void read_line(std::string_view line, Stream& stream, Figures& figures) {
  if (stream.status == 0 && line.starts_with("HTTP/1.1 "))
    stream.status = std::atoi(line.data() + 9);
  if (!line.starts_with("data: ")) return;
  if (line.starts_with("data: [DONE]")) {
    stream.done = true;
    return;
  }
  if (const long usage = number_after(line, "\"completion_tokens\":"); usage >= 0)
    stream.tokens = usage;
  const size_t content = line.find("\"content\":\"");
  if (content == line.npos || line[content + 11] == '"') return;
  const auto now = Clock::now();
  if (stream.first == Clock::time_point()) {
    stream.first = now;
    figures.first.push_back(seconds(stream.began, now));
  } else {
    figures.between.push_back(seconds(stream.last, now));
  }
  stream.last = now;
}

// Returns true if more of the response is to come.
bool read_some(Stream& stream, Figures& figures) {
  char bytes[kReadBytes];
  const ssize_t got = ::recv(stream.socket, bytes, sizeof bytes, 0);
  if (got <= 0) return false;
  stream.unread.append(bytes, static_cast<size_t>(got));
  size_t at = 0;
  for (size_t end; (end = stream.unread.find('\n', at)) != std::string::npos; at = end + 1)
    read_line(std::string_view(stream.unread).substr(at, end - at), stream, figures);
  stream.unread.erase(0, at);
  return true;
}

bool send_some(Stream& stream) {
  const ssize_t sent =
      ::send(stream.socket, stream.unsent.data(), stream.unsent.size(), MSG_NOSIGNAL);
  if (sent < 0) return false;
  stream.unsent.erase(0, static_cast<size_t>(sent));
  return true;
}

void finish(const Stream& stream, Figures& figures) {
  ::close(stream.socket);
  ++figures.statuses[stream.status == 200 && !stream.done ? "cut" : std::to_string(stream.status)];
  if (stream.status != 200) figures.refused.push_back(seconds(stream.began, Clock::now()));
  figures.tokens += stream.tokens;
  figures.complete += stream.done;
}

bool may_begin(const Options& options, long begun, size_t open, Clock::time_point start) {
  if (begun == options.requests) return false;
  if (options.rate == 0) return open < static_cast<size_t>(options.clients);
  return seconds(start, Clock::now()) * options.rate >= static_cast<double>(begun);
}

double run(const Options& options, Figures& figures) {
  const auto start = Clock::now();
  std::vector<Stream> streams;
  std::vector<pollfd> polled;
  for (long begun = 0; begun < options.requests || !streams.empty();) {
    while (may_begin(options, begun, streams.size(), start))
      streams.push_back(begin(options, begun++));
    polled.clear();
    for (const Stream& stream : streams)
      polled.push_back(
          {stream.socket, static_cast<short>(stream.unsent.empty() ? POLLIN : POLLOUT), 0});
    ::poll(polled.data(), polled.size(), options.rate == 0 ? -1 : 1);
    for (size_t i = streams.size(); i-- > 0;) {
      if (polled[i].revents == 0) continue;
      Stream& stream = streams[i];
      if (stream.unsent.empty() ? read_some(stream, figures) : send_some(stream)) continue;
      finish(stream, figures);
      streams.erase(streams.begin() + static_cast<std::ptrdiff_t>(i));
    }
  }
  return seconds(start, Clock::now());
}

std::string quantiles(std::vector<double> values) {
  if (values.empty()) return "null";
  std::sort(values.begin(), values.end());
  const auto at = [&](double part) {
    return values[std::min(values.size() - 1,
                           static_cast<size_t>(part * static_cast<double>(values.size())))];
  };
  char text[128];
  std::snprintf(text, sizeof text, "{\"p50\":%.5f,\"p95\":%.5f,\"p99\":%.5f}", at(0.5), at(0.95),
                at(0.99));
  return text;
}

Options read_options(int count, char** words) {
  if (count < 4)
    fail(
        "usage: serve_load HOST PORT MODEL [--clients N] ...; the source file begins with the "
        "whole usage");
  Options options;
  options.host = words[1], options.port = words[2], options.model = words[3];
  for (int i = 4; i < count; ++i) {
    const std::string_view name = words[i];
    if (name == "--shared" || name == "--json") {
      options.shared = options.shared || name == "--shared";
      continue;
    }
    if (++i == count) fail(std::string(name) + " needs a value");
    if (name == "--clients")
      options.clients = std::atol(words[i]);
    else if (name == "--requests")
      options.requests = std::atol(words[i]);
    else if (name == "--tokens")
      options.tokens = std::atol(words[i]);
    else if (name == "--words")
      options.words = std::atol(words[i]);
    else if (name == "--seed")
      options.seed = std::strtoul(words[i], nullptr, 10);
    else if (name == "--rate")
      options.rate = std::atof(words[i]);
    else if (name == "--key")
      options.key = words[i];
    else if (name == "--system") {
      std::ifstream file(words[i]);
      if (!file) fail(std::string("cannot read ") + words[i]);
      options.system.assign(std::istreambuf_iterator<char>(file), {});
    } else
      fail("unknown option " + std::string(name));
  }
  if (options.clients < 1 || options.requests < 1 || options.tokens < 1 || options.words < 0 ||
      options.rate < 0)
    fail("--clients, --requests and --tokens are at least 1, --words and --rate at least 0");
  return options;
}

}  // namespace

int main(int count, char** words) {
  const Options options = read_options(count, words);
  Figures figures;
  const double wall = run(options, figures);
  std::string statuses;
  for (const auto& [status, number] : figures.statuses)
    statuses += (statuses.empty() ? "\"" : ",\"") + status + "\":" + std::to_string(number);
  std::printf(
      "{\"clients\":%ld,\"requests\":%ld,\"complete\":%ld,\"wall_s\":%.3f,\"tokens\":%ld,"
      "\"tok_s\":%.2f,\"requests_s\":%.3f,\"first_s\":%s,\"between_s\":%s,\"refused_s\":%s,"
      "\"statuses\":{%s}}\n",
      options.clients, options.requests, figures.complete, wall, figures.tokens,
      static_cast<double>(figures.tokens) / wall, static_cast<double>(figures.complete) / wall,
      quantiles(figures.first).c_str(), quantiles(figures.between).c_str(),
      quantiles(figures.refused).c_str(), statuses.c_str());
  return figures.complete == options.requests || options.rate > 0 ? 0 : 1;
}
