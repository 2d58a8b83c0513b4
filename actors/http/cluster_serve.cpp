#include <utility>

#include <troupe/actors/http/server.h>
#include <troupe/actors/troupe.h>

// The door to this room: HttpServer, and Cluster::serve.

namespace troupe {

struct HttpServer::Impl {
  std::unique_ptr<http::Server> server;
};

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpServer::HttpServer(HttpServer&&) noexcept = default;
HttpServer& HttpServer::operator=(HttpServer&&) noexcept = default;
HttpServer::~HttpServer() = default;

std::uint16_t HttpServer::port() const { return impl_->server->port(); }
std::string HttpServer::url() const { return impl_->server->url(); }
std::vector<std::string> HttpServer::models() const { return impl_->server->models(); }
void HttpServer::shut_down(std::function<bool()> hurry) { impl_->server->shut_down(hurry); }

Result<HttpServer> Cluster::serve(const ServeOptions& options) {
  auto impl = std::make_unique<HttpServer::Impl>();
  TROUPE_ASSIGN_OR_RETURN(impl->server, http::Server::start(*this, options));
  return HttpServer(std::move(impl));
}

}  // namespace troupe
