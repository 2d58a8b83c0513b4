#include <condition_variable>
#include <future>
#include <mutex>
#include <set>
#include <thread>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <pthread.h>

#include <troupe/actors/facade/cluster_impl.h>
#include <troupe/actors/http/access.h>
#include <troupe/actors/http/connection.h>
#include <troupe/actors/http/generation.h>
#include <troupe/actors/http/load_models.h>
#include <troupe/actors/http/server.h>
#include <troupe/actors/http/server_files.h>
#include <troupe/actors/http/service.h>
#include <troupe/actors/http/streams.h>
#include <troupe/runtime/clock.h>
#include <troupe/runtime/log.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::http {
namespace {

namespace asio = boost::asio;
using Tcp = asio::ip::tcp;
using ErrorCode = boost::system::error_code;

constexpr std::size_t kPoolThreads = 2, kPoolQueueMax = 512;
constexpr int kFilesEveryMs = 500, kSweepEveryMs = 5000, kScrubEveryMs = 60'000;

Status check_options(const ServeOptions& options) {
  if (options.models.empty()) {
    return Status(Code::kInvalidArgument, "no model is to be served; name at least one");
  }
  if (options.tls_cert.empty() != options.tls_key.empty()) {
    return Status(Code::kInvalidArgument,
                  "TLS needs a certificate and a key; only one of them was given");
  }
  if (!is_loopback(options.host) && options.api_key_file.empty() && !options.open) {
    return Status(Code::kInvalidArgument,
                  "anyone who reaches " + options.host +
                      " could use the server: give a file of API keys (--api-key-file, made by "
                      "`troupe key new --api`), or say that this is meant (--open)");
  }
  return Status::ok();
}

// Opens the file with the streams of the server at this address, which the next server at this
// address reads. Without a home, or while another server has the file, streams are in memory only.
std::unique_ptr<actors::StreamFile> open_streams(const ServeOptions& options,
                                                 const std::string& home) {
  if (!options.resume || home.empty()) return nullptr;
  const std::filesystem::path file = std::filesystem::path(home) / "streams" /
                                     (options.host + "-" + std::to_string(options.port) + ".db");
  auto opened = actors::StreamFile::open(file);
  if (opened) return std::move(*opened);
  log(LogLevel::kWarning,
      "streams cannot be taken up after a restart of this server: " + opened.message());
  return nullptr;
}

bool is_usual_method(const std::string& method) {
  return method == "GET" || method == "POST" || method == "HEAD" || method == "OPTIONS";
}

ApiError beyond_limit(const ApiKey& key, const RateLimits::Refusal& refusal) {
  const std::uint64_t limit = refusal.tokens ? key.tokens_per_minute : key.requests_per_minute;
  const std::string what = refusal.tokens ? "tokens" : "requests";
  ApiError error = bad_request("the API key may take " + std::to_string(limit) + " " + what +
                                   " a minute, and has taken them; wait before the next request",
                               "", "rate_limit_exceeded");
  error.status = 429;
  error.type = what;
  error.retry_after_s = refusal.retry_after_s;
  return error;
}

}  // namespace

struct Server::Impl {
  ServeOptions options;
  std::vector<std::string> ids;  // of the models
  // The members of the HTTP thread come before its io_context, because connections that are
  // destroyed with the io_context still change the server's counts.
  ConnectionHost host;
  Service service;
  std::shared_ptr<const ApiKeys> keys;  // null: the server asks for no keys
  std::shared_ptr<TlsContext> tls;      // null: plain HTTP
  FileStamps stamps;
  std::size_t open_connections = 0, bodies_bytes = 0;
  std::vector<std::weak_ptr<Connection>> connections;

  asio::io_context io{1};
  asio::executor_work_guard<asio::io_context::executor_type> work{io.get_executor()};
  Tcp::acceptor acceptor{io};
  Tcp::endpoint address;
  std::unique_ptr<StreamKeeper> keeper;
  std::unique_ptr<WorkPool> pool;
  std::unique_ptr<Gateway> gateway;
  std::unique_ptr<ClusterWatch> watch;
  std::thread thread;

  Status listen();
  void accept();
  void on_accept(Tcp::socket socket);
  void set_up_host();
  std::optional<Response> on_head(Exchange& exchange);
  std::optional<Response> admit(Exchange& exchange);
  void on_request(const ExchangePtr& exchange);
  void on_end(const Exchange& exchange, int status, std::size_t bytes);
  void on_events();
  void on_saved(const std::vector<std::string>& streams);
  void watch_files();
  void sweep();
  void abandon_all(const Status& why);
  void take(const ChangedFiles& changed);
  void drop_removed_keys();
  template <class Work>
  void on_thread(Work work) {
    asio::post(io, std::move(work));
  }
};

Status Server::Impl::listen() {
  ErrorCode error;
  const std::string host_name = options.host == "localhost" ? "127.0.0.1" : options.host;
  const auto ip = asio::ip::make_address(host_name, error);
  if (error) {
    return Status(Code::kInvalidArgument,
                  "the host '" + options.host + "' is not an address; give one of this machine");
  }
  address = Tcp::endpoint(ip, options.port);
  acceptor.open(address.protocol(), error);
  if (!error) acceptor.set_option(Tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor.bind(address, error);
  if (!error) acceptor.listen(1024, error);
  if (error == asio::error::address_in_use) {
    return Status(Code::kAlreadyExists, "another program listens on port " +
                                            std::to_string(options.port) + " of " + options.host +
                                            "; choose another one with --port");
  }
  if (error) {
    return Status(Code::kUnavailable, "cannot listen on " + options.host + " port " +
                                          std::to_string(options.port) + ": " + error.message());
  }
  address = acceptor.local_endpoint(error);
  return Status::ok();
}

void Server::Impl::accept() {
  acceptor.async_accept([this](const ErrorCode& error, Tcp::socket socket) {
    if (!acceptor.is_open()) return;
    if (!error) {
      on_accept(std::move(socket));
      return accept();
    }
    // No descriptors are left: connections that end free some.
    service.after(50, [this] { accept(); });
  });
}

void Server::Impl::on_accept(Tcp::socket socket) {
  ++open_connections;
  const auto connection = std::make_shared<Connection>(host, std::move(socket), tls);
  if (open_connections > options.limits.connections) {
    connection->start_refusing(error_response(
        overloaded("the server has as many connections as it may; try again later", 1)));
    return;
  }
  if (connections.size() > 2 * open_connections + 16) {
    std::erase_if(connections, [](const auto& one) { return one.expired(); });
  }
  connections.push_back(connection);
  connection->start();
}

void Server::Impl::set_up_host() {
  host.limits = options.limits;
  host.on_head = [this](Exchange& exchange) { return on_head(exchange); };
  host.on_request = [this](const ExchangePtr& exchange) { on_request(exchange); };
  host.on_end = [this](const Exchange& exchange, int status, std::size_t bytes) {
    on_end(exchange, status, bytes);
  };
  host.on_closed = [this] { --open_connections; };
  host.reserve = [this](std::ptrdiff_t bytes) {
    if (bytes > 0 && bodies_bytes + static_cast<std::size_t>(bytes) > options.limits.bodies_bytes) {
      return false;
    }
    bodies_bytes += static_cast<std::size_t>(bytes);
    return true;
  };
}

std::optional<Response> Server::Impl::on_head(Exchange& exchange) {
  exchange.request_id = request_id_of(exchange.request);
  exchange.headers = cors_headers(options, exchange.request);
  return admit(exchange);
}

std::optional<Response> Server::Impl::admit(Exchange& exchange) {
  const Request& request = exchange.request;
  if (const auto error = check_host(options, request.header("Host"))) return error_response(*error);
  if (const auto error = check_origin(options, request)) return error_response(*error);
  const RouteMatch match = find_route(request.method, request.path);
  const bool known = !match.allow.empty() || request.path == "*";
  if (request.method == "OPTIONS" && known) {
    Response response;
    response.status = 204;
    response.headers.push_back({"Allow", match.allow.empty() ? "OPTIONS" : match.allow});
    return response;
  }
  if (match.route == nullptr) {
    ApiError error = bad_request(
        known ? "this path takes " + match.allow : "the server has no such path; see /openapi.json",
        "", known ? "method_not_allowed" : "not_found");
    error.status = known ? 405 : 404;
    Response response = error_response(error);
    if (known) response.headers.push_back({"Allow", match.allow});
    return response;
  }
  exchange.route = match.route;
  if (const auto error = check_key(keys.get(), request, match.route->role, &exchange.key)) {
    return error_response(*error);
  }
  const bool posts = std::string_view(match.route->method) == "POST";
  if (posts) {
    if (const auto error = check_content_type(request)) return error_response(*error);
  }
  const ApiKey* key = keys ? keys->named(exchange.key) : nullptr;
  if (key != nullptr) {
    exchange.weight = key->weight;
    exchange.priority_least = key->priority;
  }
  if (posts && key != nullptr) {
    if (const auto refusal = service.limits.admit(*key, monotonic_us())) {
      return error_response(beyond_limit(*key, *refusal));
    }
  }
  if (service.loading && match.route->role != Role::kNone) {
    return error_response(overloaded(why_not_ready(service), 1));
  }
  return std::nullopt;
}

void Server::Impl::on_request(const ExchangePtr& exchange) {
  exchange->route->endpoint(service, exchange);
}

void Server::Impl::on_end(const Exchange& exchange, int status, std::size_t bytes) {
  const std::string& method = exchange.request.method;
  service.metrics.count_request(exchange.route != nullptr ? exchange.route->path : "none",
                                is_usual_method(method) ? method : "other", status);
  if (!options.access_log || !log_enabled(LogLevel::kInfo)) return;
  // Nothing that a client sends can begin a line of its own, or be of any length.
  log(LogLevel::kInfo, "http peer=" + exchange.peer +
                           " key=" + (exchange.key.empty() ? "-" : exchange.key) +
                           " method=" + (is_usual_method(method) ? method : "other") +
                           " path=" + in_quotes(exchange.request.path) +
                           " status=" + std::to_string(status) + " bytes=" + std::to_string(bytes) +
                           " ms=" + std::to_string((monotonic_us() - exchange.began_us) / 1000) +
                           " id=" + (exchange.request_id.empty() ? "-" : exchange.request_id));
}

// Takes the tokens of a step, and whatever else has come since the last time.
void Server::Impl::on_events() {
  std::vector<std::shared_ptr<Generation>> touched;
  for (const AnswerEvent& event : gateway->take()) {
    const auto found = service.answers.find(event.answer);
    if (found == service.answers.end()) continue;  // the answer's client is gone
    const std::shared_ptr<Generation> generation = found->second;
    generation->on_event(event);
    if (touched.empty() || touched.back() != generation) touched.push_back(generation);
  }
  for (const auto& generation : touched) generation->flush();
}

void Server::Impl::on_saved(const std::vector<std::string>& streams) {
  for (const std::string& id : streams) {
    const auto found = service.streams.find(id);
    if (found == service.streams.end()) continue;
    const std::shared_ptr<Generation> stream = found->second;
    stream->on_saved();
  }
}

void Server::Impl::watch_files() {
  service.after(kFilesEveryMs, [this] {
    const bool taken = pool->submit([this, seen = stamps] {
      auto changed = std::make_shared<ChangedFiles>(read_changed_files(options, seen));
      on_thread([this, changed] {
        take(*changed);
        watch_files();
      });
    });
    if (!taken) watch_files();
  });
}

// Takes over files that changed. If one cannot be read, the log says so once, and the server goes
// on with what it has.
void Server::Impl::take(const ChangedFiles& changed) {
  stamps = changed.stamps;
  if (changed.keys && !*changed.keys) {
    log(LogLevel::kWarning, "the API keys stay as they were: " + changed.keys->message());
  } else if (changed.keys) {
    keys = **changed.keys;
    drop_removed_keys();
  }
  if (changed.tls && !*changed.tls) {
    log(LogLevel::kWarning, "the certificate stays as it was: " + changed.tls->message());
  } else if (changed.tls) {
    tls = **changed.tls;
  }
}

void Server::Impl::sweep() {
  sweep_streams(service, monotonic_us());
  const int every_ms = std::clamp(options.limits.stream_rest_ms / 4, 50, kSweepEveryMs);
  service.after(every_ms, [this] { sweep(); });
}

void Server::Impl::abandon_all(const Status& why) {
  std::set<std::shared_ptr<Generation>> open;
  for (const auto& [answer, generation] : service.answers) open.insert(generation);
  for (const auto& generation : open) generation->abandon(why);
}

// Drops what belongs to keys that were removed, or whose name has another key now.
void Server::Impl::drop_removed_keys() {
  const auto is_removed = [this](const Generation& stream) {
    return service.owner_of(stream.key()) != stream.owner();
  };
  std::vector<std::string> forgotten;
  for (const auto& [id, stream] : service.streams) {
    if (is_removed(*stream)) forgotten.push_back(id);
  }
  std::set<std::shared_ptr<Generation>> removed;
  for (const auto& [answer, generation] : service.answers) {
    if (is_removed(*generation)) removed.insert(generation);
  }
  for (const auto& generation : removed) {
    generation->abandon(Status(Code::kPermissionDenied, "the API key was removed"));
  }
  for (const std::string& id : forgotten) forget_stream(service, id);
}

Server::Server() : impl_(std::make_unique<Impl>()) {}

Result<std::unique_ptr<Server>> Server::start(Cluster& cluster, const ServeOptions& options) {
  TROUPE_RETURN_IF_ERROR(check_options(options));
  std::unique_ptr<Server> server(new Server);
  Impl* impl = server->impl_.get();
  impl->options = options;
  impl->service.options = options;
  impl->service.owner_of = [impl](const std::string& name) {
    const ApiKey* key = impl->keys ? impl->keys->named(name) : nullptr;
    return name + " " + (key != nullptr ? key->sha256 : std::string());
  };
  const ChangedFiles files = read_changed_files(options, {});
  if (files.keys && !*files.keys) return files.keys->status();
  if (files.tls && !*files.tls) return files.tls->status();
  impl->take(files);
  TROUPE_RETURN_IF_ERROR(impl->listen());
  impl->set_up_host();
  impl->pool = std::make_unique<WorkPool>(kPoolThreads, kPoolQueueMax);
  impl->gateway = std::make_unique<Gateway>(
      cluster, [impl] { impl->on_thread([impl] { impl->on_events(); }); });
  impl->keeper = std::make_unique<StreamKeeper>(
      open_streams(options, cluster.impl().process->home),
      std::min(kScrubEveryMs, options.limits.stream_rest_ms),
      [impl](const std::vector<std::string>& streams) {
        impl->on_thread([impl, streams] { impl->on_saved(streams); });
      });
  std::vector<actors::StoredStream> stored;
  if (impl->keeper->has_file()) {
    auto loaded = impl->keeper->load();
    if (!loaded) return loaded.status();
    stored = std::move(*loaded);
  }
  impl->service.keeper = impl->keeper.get();
  impl->service.pool = impl->pool.get();
  impl->service.gateway = impl->gateway.get();
  impl->service.post = [impl](std::function<void()> work) { impl->on_thread(std::move(work)); };
  impl->service.after = [impl](int delay_ms, std::function<void()> work) {
    auto timer = std::make_shared<asio::steady_timer>(impl->io);
    timer->expires_after(std::chrono::milliseconds(delay_ms));
    timer->async_wait([timer, work = std::move(work)](const ErrorCode& error) {
      if (!error) work();
    });
  };
  impl->on_thread([impl] {
    impl->accept();
    impl->sweep();
  });
  if (impl->keys || impl->tls) impl->on_thread([impl] { impl->watch_files(); });
  impl->thread = std::thread([impl] { impl->io.run(); });
  pthread_setname_np(impl->thread.native_handle(), "troupe-http");
  ServedModels models;
  TROUPE_RETURN_IF_ERROR(
      load_models(cluster, *impl->gateway, options.models, options.shared_prompts, &models));
  std::vector<std::string> ids;
  for (const ServedModelPtr& model : models.all()) {
    impl->ids.push_back(model->id);
    ids.push_back(model->model_id);
  }
  impl->watch = std::make_unique<ClusterWatch>([impl] { return impl->gateway->status(); },
                                               [impl] { impl->gateway->keep_models(); }, ids);
  std::promise<void> ready;
  impl->on_thread([impl, &ready, &models, &stored] {
    impl->service.models = std::move(models);
    restore_streams(impl->service, stored);
    impl->service.watch = impl->watch.get();
    impl->service.loading = false;
    ready.set_value();
  });
  ready.get_future().wait();
  return server;
}

Server::~Server() {
  Impl* impl = impl_.get();
  if (impl->thread.joinable()) {
    impl->on_thread([impl] {
      ErrorCode ignored;
      impl->acceptor.close(ignored);
      for (const auto& one : impl->connections) {
        if (const auto connection = one.lock()) connection->cut();
      }
      impl->work.reset();
      impl->io.stop();
    });
    impl->thread.join();
  }
  impl->pool.reset();
  impl->watch.reset();
  impl->gateway.reset();
  impl->service.answers.clear();
  impl->service.streams.clear();
  impl->keeper.reset();
}

std::uint16_t Server::port() const { return impl_->address.port(); }

std::string Server::url() const {
  const auto ip = impl_->address.address();
  const std::string host = ip.is_v6() ? "[" + ip.to_string() + "]" : ip.to_string();
  return (impl_->options.tls_cert.empty() ? "http://" : "https://") + host + ":" +
         std::to_string(port());
}

std::vector<std::string> Server::models() const { return impl_->ids; }

void Server::shut_down(const std::function<bool()>& hurry) {
  Impl* impl = impl_.get();
  std::mutex mutex;
  std::condition_variable changed;
  bool done = false;
  const auto until =
      std::chrono::steady_clock::now() + std::chrono::milliseconds(impl->options.limits.drain_ms);
  const std::function<void()> look = [&] {
    bool busy = !impl->service.answers.empty();
    for (const auto& one : impl->connections) {
      const auto connection = one.lock();
      if (!connection) continue;
      if (connection->is_idle()) connection->close();
      busy = busy || connection->is_open();
    }
    const bool late = std::chrono::steady_clock::now() >= until || (hurry && hurry());
    if (busy && !late) return impl->service.after(20, look);
    impl->abandon_all(Status(Code::kUnavailable, "the server is shutting down"));
    const std::lock_guard lock(mutex);
    done = true;
    changed.notify_all();
  };
  impl->on_thread([&] {
    impl->service.draining = true;
    look();
  });
  std::unique_lock lock(mutex);
  changed.wait(lock, [&] { return done; });
}

}  // namespace troupe::http
