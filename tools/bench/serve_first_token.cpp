// Measures what the HTTP server adds to the time of a first token: chats through the facade
// (Cluster::generate) and through HTTP, in turn, in one process with one model.
//   serve_first_token MODEL.gguf [THREADS [ROUNDS [WORDS]]]
// Every prompt has WORDS words and is drawn anew, so that no two begin alike. Prints the medians in
// milliseconds and the median of the rounds' differences.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <troupe/actors/troupe.h>

namespace {

using Clock = std::chrono::steady_clock;

constexpr const char* kWords[] = {"river",  "stone",  "cloud",  "market", "engine",
                                  "letter", "winter", "garden", "signal", "bridge",
                                  "copper", "music",  "window", "forest"};

double milliseconds_since(Clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
}

[[noreturn]] void fail(const std::string& text) {
  std::fprintf(stderr, "serve_first_token: %s\n", text.c_str());
  std::exit(1);
}

std::string draw_prompt(std::mt19937& random, int words) {
  std::string prompt;
  for (int i = 0; i < words; ++i) prompt += std::string(kWords[random() % std::size(kWords)]) + " ";
  return prompt + "Tell a story about these.";
}

double through_facade(troupe::Cluster& cluster, const std::string& model,
                      const std::string& prompt) {
  troupe::GenerateRequest request;
  request.model = model;
  request.prompt = prompt;
  request.max_tokens = 1;
  request.ignore_end = true;
  const auto begin = Clock::now();
  double first = 0;
  const auto result = cluster.generate(request, [&](const troupe::TokenEvent&) {
    first = milliseconds_since(begin);
    return true;
  });
  if (!result) fail(result.message());
  return first;
}

double through_http(std::uint16_t port, const std::string& prompt) {
  const std::string body =
      "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"" + prompt +
      "\"}],\"max_tokens\":1,\"stream\":true,\"temperature\":0,\"ignore_eos\":true}";
  const std::string request =
      "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:" + std::to_string(port) +
      "\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: " +
      std::to_string(body.size()) + "\r\n\r\n" + body;
  const auto begin = Clock::now();
  const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(socket, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
    fail("cannot connect");
  const int on = 1;
  ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (::send(socket, request.data(), request.size(), MSG_NOSIGNAL) < 0) fail("cannot send");
  std::string answer;
  double first = 0;
  char bytes[4096];
  for (ssize_t got; (got = ::recv(socket, bytes, sizeof bytes, 0)) > 0;) {
    answer.append(bytes, static_cast<std::size_t>(got));
    // The first chunk has only the role; the second one begins with the first token.
    if (first == 0 && answer.find("\"delta\":{\"content\"") != std::string::npos)
      first = milliseconds_since(begin);
  }
  ::close(socket);
  if (first == 0 || answer.find("[DONE]") == std::string::npos) fail("no answer: " + answer);
  return first;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

}  // namespace

int main(int count, char** words) {
  if (count < 2) fail("usage: serve_first_token MODEL.gguf [THREADS [ROUNDS [WORDS]]]");
  const std::string model = words[1];
  const int threads = count > 2 ? std::atoi(words[2]) : 2;
  const int rounds = count > 3 ? std::atoi(words[3]) : 50;
  const int length = count > 4 ? std::atoi(words[4]) : 100;
  auto cluster = troupe::Cluster::local({.home = "", .threads = threads});
  if (!cluster) fail(cluster.message());
  troupe::ServeOptions options;
  options.port = 0;
  options.models = {{model, "m"}};
  options.access_log = false;
  auto server = cluster->serve(options);
  if (!server) fail(server.message());
  std::mt19937 random(7);
  std::vector<double> facade, http, added;
  for (int round = -2; round < rounds; ++round) {  // two to warm up
    double direct = 0, served = 0;
    const std::string one = draw_prompt(random, length), other = draw_prompt(random, length);
    const bool first = round % 2 == 0;
    if (first) direct = through_facade(*cluster, model, one);
    served = through_http(server->port(), other);
    if (!first) direct = through_facade(*cluster, model, one);
    if (round < 0) continue;
    facade.push_back(direct), http.push_back(served), added.push_back(served - direct);
  }
  std::printf("{\"rounds\":%d,\"facade_ms\":%.2f,\"http_ms\":%.2f,\"added_ms\":%.2f}\n", rounds,
              median(facade), median(http), median(added));
  return 0;
}
