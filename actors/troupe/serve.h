#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <troupe/runtime/status.h>

// An HTTP server that speaks OpenAI's API in front of a Cluster (Cluster::serve). Plain values and
// a movable handle. docs/api.md describes the API.

namespace troupe {

struct ServedModel {
  // A name in the store, a path to a file or folder, model:HEX or sha256:HEX. It must be on this
  // machine, since the server tokenizes prompts itself.
  std::string model;
  std::string id;  // the name in requests; if "", its name in the store, else its file's stem
};

// A system prompt that is not secret: its keys and values are shared among all API keys, where
// others are shared among the requests of one key only.
struct SharedPrompt {
  std::string text;                      // UTF-8, not empty, shorter than the context of each model
  std::string name = "a shared prompt";  // how messages call it
};

// Limits on what clients may use. A request beyond one of them is refused with a status.
struct ServeLimits {
  std::size_t connections = 4096;
  std::size_t header_bytes = 16 * 1024, header_fields = 100;
  std::size_t body_bytes = std::size_t{8} << 20;
  std::size_t bodies_bytes = std::size_t{64} << 20;  // of all requests that are being read
  std::size_t stream_buffer_bytes = 256 * 1024;      // unsent bytes of one stream
  std::size_t answers = 240;                         // being computed or waiting for that
  std::size_t answers_per_key = 240;
  int header_ms = 10'000, body_ms = 60'000, idle_ms = 75'000, write_ms = 30'000;
  int answer_ms = 600'000;  // from acceptance to the end of an answer
  int comment_ms = 5'000;   // a silent stream gets a comment this often
  int drain_ms = 30'000;    // the time that streams have to end after shut_down()
  // How long a stream that ended or broke can be taken up; of each key, at most the latest 64.
  int stream_rest_ms = 600'000;
};

struct ServeOptions {
  std::string host = "127.0.0.1";   // an IPv4 or IPv6 address of this machine, or "localhost"
  std::uint16_t port = 8080;        // 0 means any free port
  std::vector<ServedModel> models;  // at least one; all of them are loaded, and stay loaded
  // A file of key names and hashes, readable by its owner alone; read again when it changes. ""
  // accepts every key, and is refused for an address beyond loopback unless `open` is set.
  std::string api_key_file;
  bool open = false;
  // Names besides localhost, 127.0.0.1 and [::1] that the Host field may have on loopback.
  std::vector<std::string> allowed_hosts;
  // Origins whose pages may call the server, such as "https://example.org"; if there are none, no
  // page may.
  std::vector<std::string> allowed_origins;
  std::string tls_cert, tls_key;  // PEM files, both or none; read again when they change
  std::vector<SharedPrompt> shared_prompts;
  // If true, streams can be taken up after they broke, even if this process was killed and started
  // again: they are kept in a file below the home of the Cluster.
  bool resume = true;
  bool access_log = true;  // a line for each request, without prompt text, by runtime/log.h
  ServeLimits limits;
};

// A running server. Any thread may call. It must end before its Cluster.
class HttpServer {
 public:
  HttpServer(HttpServer&&) noexcept;
  HttpServer& operator=(HttpServer&&) noexcept;
  ~HttpServer();  // ends at once, and cuts open streams

  std::uint16_t port() const;
  std::string url() const;                  // "http://127.0.0.1:8080"
  std::vector<std::string> models() const;  // their ids
  // Makes /ready answer 503 from now on and refuses new requests; returns when the open ones have
  // ended, after limits.drain_ms at the latest, or when `hurry`, which is called a few times a
  // second on the server's thread, returns true. Streams that are still open are told that they
  // end.
  void shut_down(std::function<bool()> hurry = {});

  struct Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace troupe
