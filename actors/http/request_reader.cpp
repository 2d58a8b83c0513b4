#include <algorithm>
#include <cstdint>
#include <limits>

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>

#include <troupe/actors/http/body_reader.h>
#include <troupe/actors/http/request_reader.h>

namespace troupe::http {
namespace {

namespace beast = boost::beast::http;
// Beast reads the header alone.
using Parser = beast::request_parser<beast::empty_body>;

// Reads a number that Beast has read already, so that it fits.
std::uint64_t length_of(std::string_view digits) {
  std::uint64_t length = 0;
  for (const char digit : digits) length = length * 10 + static_cast<std::uint64_t>(digit - '0');
  return length;
}

}  // namespace

struct RequestReader::Impl {
  explicit Impl(const ServeLimits& of) : limits(of) { reset(); }

  void reset() {
    parser = std::make_unique<Parser>();
    // Our own check of the header's size comes first.
    parser->header_limit(static_cast<std::uint32_t>(limits.header_bytes + 1024));
    parser->body_limit(std::numeric_limits<std::uint64_t>::max());
    parser->skip(true);
    request = Request();
    body = BodyReader();
    state = State::kIdle;
    scanned = 0;
  }

  void fail(int status, std::string message) {
    state = State::kBad;
    error = {status, std::move(message)};
    pending.clear();
    parser.reset();
  }

  void advance() {
    if (state == State::kIdle || state == State::kHeader) read_header();
    if (state == State::kBody) read_body();
  }

  // Finds the end of the header, and refuses line ends that others might read differently.
  void read_header() {
    if (scanned == 0) {
      while (pending.rfind("\r\n", 0) == 0) pending.erase(0, 2);
      if (pending.empty() || pending == "\r") return;
    }
    state = State::kHeader;
    for (; scanned < pending.size(); ++scanned) {
      const char c = pending[scanned];
      if (c == '\n' && (scanned == 0 || pending[scanned - 1] != '\r')) {
        return fail(400, "the header has a line feed without a carriage return before it");
      }
      if (scanned > 0 && pending[scanned - 1] == '\r' && c != '\n') {
        return fail(400, "the header has a carriage return without a line feed after it");
      }
      if (c == '\0') return fail(400, "the header has a byte 0");
      if (c == '\n' && scanned >= 3 && pending[scanned - 2] == '\n') {
        const std::size_t bytes = scanned + 1;
        if (bytes > limits.header_bytes) return too_large();
        return parse_header(bytes);
      }
      if (scanned >= limits.header_bytes) return too_large();
    }
  }

  void too_large() {
    fail(431,
         "the request's header has more than " + std::to_string(limits.header_bytes) + " bytes");
  }

  void parse_header(std::size_t bytes) {
    const std::string_view header(pending.data(), bytes);
    if (header.find("\n ") != std::string_view::npos ||
        header.find("\n\t") != std::string_view::npos) {
      return fail(400, "the header has a folded line, which HTTP/1.1 no longer allows");
    }
    const auto lines = static_cast<std::size_t>(std::count(header.begin(), header.end(), '\n'));
    if (lines > limits.header_fields + 2) {
      return fail(431, "the request has more than " + std::to_string(limits.header_fields) +
                           " header fields");
    }
    boost::system::error_code error;
    parser->put(boost::asio::buffer(header.data(), header.size()), error);
    if (error == beast::error::bad_version) return bad_version();
    if (error && error != beast::error::need_more) {
      return fail(400, "the request's header is not valid HTTP (" + error.message() + ")");
    }
    if (!parser->is_header_done()) {
      return fail(400, "the request's header is not valid HTTP");
    }
    pending.erase(0, bytes);
    scanned = 0;
    take_header();
  }

  void bad_version() { fail(505, "the server speaks HTTP/1.1 and HTTP/1.0"); }

  void body_too_large() {
    fail(413, "the body is larger than " + std::to_string(limits.body_bytes) + " bytes");
  }

  void take_header() {
    const auto& message = parser->get();
    request.method = std::string(message.method_string());
    request.target = std::string(message.target());
    request.version = static_cast<int>(message.version());
    for (const auto& field : message) {
      request.headers.push_back({std::string(field.name_string()), std::string(field.value())});
    }
    request.keep_alive = message.keep_alive();
    if (request.version != 10 && request.version != 11) return bad_version();
    if (!check_framing() || !check_host() || !split_target()) return;
    const std::string_view expect = request.header("Expect");
    if (!expect.empty() && !same_name(expect, "100-continue")) {
      return fail(417, "the only expectation that the server meets is 100-continue");
    }
    const std::string_view length = request.header("Content-Length");
    body = request.count("Transfer-Encoding") > 0 ? BodyReader::chunked()
                                                  : BodyReader::of_length(length_of(length));
    if (body.bytes() > limits.body_bytes) return body_too_large();
    request.expects_continue = !expect.empty() && request.version == 11 && !body.done();
    state = body.done() ? State::kDone : State::kBody;
  }

  // Refuses two lengths, or a length and chunks, with which requests are smuggled past a proxy.
  bool check_framing() {
    const std::size_t lengths = request.count("Content-Length");
    const std::size_t encodings = request.count("Transfer-Encoding");
    if (lengths > 1 || encodings > 1 || (lengths > 0 && encodings > 0)) {
      fail(400, "the request says in several ways how long its body is");
      return false;
    }
    if (encodings == 1 && request.version == 10) {
      fail(400, "HTTP/1.0 has no Transfer-Encoding");
      return false;
    }
    if (encodings == 1 && !same_name(request.header("Transfer-Encoding"), "chunked")) {
      fail(501, "the only Transfer-Encoding that the server reads is chunked");
      return false;
    }
    const std::string_view length = request.header("Content-Length");
    const bool digits =
        std::all_of(length.begin(), length.end(), [](char c) { return c >= '0' && c <= '9'; });
    if (lengths == 1 && (length.empty() || !digits)) {
      fail(400, "Content-Length is not a number");
      return false;
    }
    return true;
  }

  bool check_host() {
    const std::size_t hosts = request.count("Host");
    if (hosts > 1 || (hosts == 0 && request.version == 11)) {
      fail(400, "the request must have one Host field, and has " + std::to_string(hosts));
      return false;
    }
    return true;
  }

  bool split_target() {
    std::string_view target = request.target;
    if (same_name(target.substr(0, 7), "http://") || same_name(target.substr(0, 8), "https://")) {
      target.remove_prefix(target.find("//") + 2);
      const std::size_t slash = std::min(target.find_first_of("/?"), target.size());
      if (!same_name(target.substr(0, slash), request.header("Host"))) {
        fail(400, "the request's target and its Host field name different hosts");
        return false;
      }
      target.remove_prefix(slash);
      if (target.empty()) target = "/";
    }
    const bool star = target == "*" && request.method == "OPTIONS";
    if (!star && (target.empty() || target[0] != '/')) {
      fail(400, "the request's target is not a path");
      return false;
    }
    target = target.substr(0, target.find('#'));
    const std::size_t mark = std::min(target.find('?'), target.size());
    if (mark < target.size()) request.query = std::string(target.substr(mark + 1));
    if (!percent_decode(target.substr(0, mark), &request.path)) {
      fail(400, "the path has a % without two hexadecimal digits after it");
      return false;
    }
    return true;
  }

  void read_body() {
    std::size_t begin = 0;
    while (state == State::kBody && !body.done() && begin < pending.size()) {
      begin += body.read(std::string_view(pending).substr(begin), &request.body);
      if (body.error() != nullptr) return fail(400, body.error());
      if (body.bytes() > limits.body_bytes) return body_too_large();
    }
    pending.erase(0, begin);
    if (body.done()) state = State::kDone;
  }

  ServeLimits limits;
  std::unique_ptr<Parser> parser;
  State state = State::kIdle;
  Request request;
  BodyReader body;
  ReadError error;
  std::string pending;      // bytes that the parser has not taken
  std::size_t scanned = 0;  // how many of them were searched for the header's end
};

RequestReader::RequestReader(const ServeLimits& limits) : impl_(std::make_unique<Impl>(limits)) {}
RequestReader::~RequestReader() = default;
RequestReader::RequestReader(RequestReader&&) noexcept = default;

RequestReader::State RequestReader::state() const { return impl_->state; }

void RequestReader::push(std::string_view bytes) {
  if (impl_->state == State::kBad) return;
  impl_->pending += bytes;
  impl_->advance();
}

const Request& RequestReader::head() const { return impl_->request; }

std::size_t RequestReader::body_bytes() const {
  return static_cast<std::size_t>(impl_->body.bytes());
}

const ReadError& RequestReader::error() const { return impl_->error; }

Request RequestReader::take() {
  Request request = std::move(impl_->request);
  impl_->reset();
  impl_->advance();
  return request;
}

}  // namespace troupe::http
