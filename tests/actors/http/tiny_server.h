#pragma once

#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include <arpa/inet.h>
#include <catch2/catch.hpp>
#include <netinet/in.h>
#include <nlohmann/json.hpp>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <troupe/actors/troupe.h>

// A server with a very small model in this process, and a client of plain sockets.

namespace troupe::http::test {

struct TemporaryFolder {
  std::filesystem::path path;
  TemporaryFolder() {
    char name[] = "/tmp/troupe-http-XXXXXX";
    path = ::mkdtemp(name);
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path); }
};

// Writes the tiny Llama of the golden tests with a tokenizer of single ASCII characters, a chat
// template and room for `context` positions.
inline std::filesystem::path write_tiny_model(const std::filesystem::path& folder,
                                              int context = 2048) {
  namespace fs = std::filesystem;
  const fs::path golden = fs::path(TROUPE_TEST_DATA) / "golden" / "tiny" / "llama";
  const fs::path model = folder / "tiny";
  fs::create_directories(model);
  fs::copy_file(golden / "model.safetensors", model / "model.safetensors");
  nlohmann::json config = nlohmann::json::parse(std::ifstream(golden / "config.json"));
  config["max_position_embeddings"] = context;
  std::ofstream(model / "config.json") << config;
  nlohmann::json vocabulary = {{"<unk>", 0}, {"<s>", 1}, {"</s>", 2}};
  nlohmann::json added = nlohmann::json::array();
  for (const auto& [text, id] : std::map<std::string, int>{{"<unk>", 0}, {"<s>", 1}, {"</s>", 2}}) {
    added.push_back({{"id", id},
                     {"content", text},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", true}});
  }
  // A byte-level vocabulary: printable characters stand for themselves, the space is "Ġ".
  for (int c = 33; c < 127; ++c) vocabulary[std::string(1, static_cast<char>(c))] = c - 30;
  vocabulary["\u0120"] = 97;
  vocabulary["\u010A"] = 98;
  const nlohmann::json tokenizer = {{"version", "1.0"},
                                    {"truncation", nullptr},
                                    {"padding", nullptr},
                                    {"added_tokens", added},
                                    {"normalizer", nullptr},
                                    {"pre_tokenizer",
                                     {{"type", "ByteLevel"},
                                      {"add_prefix_space", false},
                                      {"trim_offsets", true},
                                      {"use_regex", true}}},
                                    {"post_processor", nullptr},
                                    {"decoder",
                                     {{"type", "ByteLevel"},
                                      {"add_prefix_space", true},
                                      {"trim_offsets", true},
                                      {"use_regex", true}}},
                                    {"model",
                                     {{"type", "BPE"},
                                      {"dropout", nullptr},
                                      {"unk_token", nullptr},
                                      {"continuing_subword_prefix", nullptr},
                                      {"end_of_word_suffix", nullptr},
                                      {"fuse_unk", false},
                                      {"byte_fallback", false},
                                      {"vocab", vocabulary},
                                      {"merges", nlohmann::json::array()}}}};
  std::ofstream(model / "tokenizer.json") << tokenizer;
  std::ofstream(model / "tokenizer_config.json")
      << nlohmann::json{{"bos_token", "<s>"},
                        {"eos_token", "</s>"},
                        {"chat_template",
                         "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
                         "{% if add_generation_prompt %}assistant: {% endif %}"}};
  return model;
}

class TinyServer {
 public:
  explicit TinyServer(const std::function<void(ServeOptions&)>& change = {}) {
    auto opened = Cluster::local({folder_.path / "home", 1});
    REQUIRE(opened);
    cluster_.emplace(std::move(*opened));
    ServeOptions options;
    options.port = 0;
    options.models = {{write_tiny_model(folder_.path).string(), "tiny"}};
    if (change) change(options);
    auto served = cluster_->serve(options);
    INFO((served ? std::string() : served.message()));
    REQUIRE(served);
    server_.emplace(std::move(*served));
  }
  HttpServer& server() { return *server_; }
  Cluster& cluster() { return *cluster_; }
  std::uint16_t port() const { return server_->port(); }
  const std::filesystem::path& folder() const { return folder_.path; }

 private:
  TemporaryFolder folder_;
  std::optional<Cluster> cluster_;
  std::optional<HttpServer> server_;
};

struct Answer {
  int status = 0;  // 0: the connection was closed without an answer
  std::string head, body;
  nlohmann::json json() const { return nlohmann::json::parse(body); }
  // Returns the value of a header field; "" if it is absent.
  std::string header(const std::string& name) const {
    const std::size_t at = head.find("\r\n" + name + ": ");
    if (at == std::string::npos) return {};
    const std::size_t from = at + name.size() + 4;
    return head.substr(from, head.find("\r\n", from) - from);
  }
};

// A connection to a server on this machine.
class Client {
 public:
  // `receive_bytes` is the number of unread bytes that the kernel keeps for it; 0 means as usual.
  explicit Client(std::uint16_t port, int receive_bytes = 0)
      : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
    if (receive_bytes > 0) {
      ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof receive_bytes);
    }
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  }
  ~Client() { close(); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }
  void send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return;  // the server has closed the connection, and its answer says why
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
  }
  // Reads until `enough` or the end; false at the end or after `timeout_ms`.
  bool read_until(const std::function<bool(const std::string&)>& enough, int timeout_ms = 10'000) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
    while (!enough(received_)) {
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
          until - std::chrono::steady_clock::now());
      pollfd waiting{fd_, POLLIN, 0};
      if (left.count() <= 0 || ::poll(&waiting, 1, static_cast<int>(left.count())) <= 0)
        return false;
      char buffer[16384];
      const ssize_t count = ::recv(fd_, buffer, sizeof buffer, 0);
      if (count <= 0) return ended_ = true, false;
      received_.append(buffer, static_cast<std::size_t>(count));
    }
    return true;
  }
  // Reads one whole response, by its length or by its chunks.
  Answer answer(bool head_only = false) {
    Answer answer;
    if (!read_until(
            [](const std::string& all) { return all.find("\r\n\r\n") != std::string::npos; }))
      return answer;
    const std::size_t end = received_.find("\r\n\r\n") + 4;
    answer.head = received_.substr(0, end);
    received_.erase(0, end);
    answer.status = std::stoi(answer.head.substr(9, 3));
    if (answer.header("Transfer-Encoding") == "chunked") {
      answer.body = read_chunks();
    } else if (const std::string length = answer.header("Content-Length");
               !length.empty() && !head_only) {
      const std::size_t bytes = std::stoul(length);
      read_until([&](const std::string& all) { return all.size() >= bytes; });
      answer.body = received_.substr(0, bytes);
      received_.erase(0, bytes);
    }
    return answer;
  }
  // True once the server has closed the connection.
  bool closed(int timeout_ms = 5000) {
    read_until([](const std::string&) { return false; }, timeout_ms);
    return ended_;
  }
  const std::string& received() const { return received_; }

 private:
  std::string read_chunks() {
    std::string body;
    for (;;) {
      if (!read_until([](const std::string& all) { return all.find("\r\n") != std::string::npos; }))
        return body;
      const std::size_t line = received_.find("\r\n");
      const std::size_t bytes = std::stoul(received_.substr(0, line), nullptr, 16);
      const std::size_t whole = line + 2 + bytes + 2;
      if (!read_until([&](const std::string& all) { return all.size() >= whole; })) return body;
      body += received_.substr(line + 2, bytes);
      received_.erase(0, whole);
      if (bytes == 0) return body;
    }
  }
  int fd_;
  bool ended_ = false;
  std::string received_;
};

inline std::string get(const std::string& path, const std::string& more = "") {
  return "GET " + path + " HTTP/1.1\r\nHost: localhost\r\n" + more + "\r\n";
}
inline std::string post(const std::string& path, const std::string& body,
                        const std::string& more = "") {
  return "POST " + path + " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" +
         more + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}
inline Answer ask(std::uint16_t port, const std::string& request) {
  Client client(port);
  client.send(request);
  return client.answer();
}

}  // namespace troupe::http::test
