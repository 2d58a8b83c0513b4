#include <catch2/catch.hpp>

#include <troupe/actors/http/request_reader.h>

using namespace troupe;
using namespace troupe::http;
using State = RequestReader::State;

namespace {

struct Refusal {
  const char* what;
  std::string bytes;
  int status;
};

const std::vector<Refusal>& refusals() {
  static const std::vector<Refusal> kRefusals = {
      {"a bare line feed", "GET / HTTP/1.1\nHost: a\n\n", 400},
      {"a bare line feed after a field", "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400},
      {"a bare carriage return", "GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n", 400},
      {"a byte 0", std::string("GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n", 29), 400},
      {"a folded line", "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n", 400},
      {"two lengths",
       "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400},
      {"two equal lengths",
       "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", 400},
      {"a list of lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n", 400},
      {"a negative length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400},
      {"a length with a sign", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n", 400},
      {"an endless length",
       "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n", 400},
      {"a length and chunks",
       "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
       400},
      {"chunks and a length",
       "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
       400},
      {"another encoding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
       501},
      {"an encoding in disguise",
       "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n", 501},
      {"chunks in HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
      {"a space before the colon", "GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400},
      {"no Host", "GET / HTTP/1.1\r\n\r\n", 400},
      {"two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400},
      {"another version", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505},
      {"no version", "GET /\r\n\r\n", 400},
      {"no method", " / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"a target without a slash", "GET x HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"a target of another host", "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"half a percent sign", "GET /%4 HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"another expectation", "POST / HTTP/1.1\r\nHost: a\r\nExpect: wonders\r\n\r\n", 417},
      {"a large header", "GET / HTTP/1.1\r\nHost: a\r\nX: " + std::string(20'000, 'x') + "\r\n\r\n",
       431},
      {"a header without an end", "GET / HTTP/1.1\r\nHost: a\r\nX: " + std::string(20'000, 'x'),
       431},
      {"a large body", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 104857600\r\n\r\n", 413},
      {"a chunk of no size",
       "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400},
      {"a chunk without its line end",
       "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n",
       400},
      {"a chunk without a size",
       "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n;x\r\n", 400},
      {"a chunk of a huge size",
       "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n123456789\r\n", 400},
      {"a large chunk",
       "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n", 413},
      {"a bare line feed after a chunk's size",
       "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n", 400},
      {"a bare line feed in the trailers",
       "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\n\r\n", 400},
      {"endless trailers",
       "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: " +
           std::string(20'000, 'y') + "\r\n\r\n",
       400},
      {"TLS to plain HTTP", std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n", 12), 400},
  };
  return kRefusals;
}

std::string many_fields(int count) {
  std::string request = "GET / HTTP/1.1\r\nHost: a\r\n";
  for (int i = 1; i < count; ++i) request += "X-" + std::to_string(i) + ": y\r\n";
  return request + "\r\n";
}

}  // namespace

TEST_CASE("http request reader: what could be understood in two ways is refused") {
  for (const Refusal& one : refusals()) {
    INFO(one.what);
    RequestReader whole((ServeLimits()));
    whole.push(one.bytes);
    CHECK(whole.state() == State::kBad);
    CHECK(whole.error().status == one.status);
    CHECK(!whole.error().message.empty());
    // The result is the same however the bytes are cut.
    RequestReader drip((ServeLimits()));
    for (const char byte : one.bytes) drip.push({&byte, 1});
    CHECK(drip.state() == State::kBad);
    CHECK(drip.error().status == one.status);
  }
}

TEST_CASE("http request reader: fields are counted") {
  RequestReader enough((ServeLimits()));
  enough.push(many_fields(100));
  CHECK(enough.state() == State::kDone);
  RequestReader many((ServeLimits()));
  many.push(many_fields(102));
  CHECK((many.state() == State::kBad && many.error().status == 431));
}

TEST_CASE("http request reader: requests come one after the other, however they are cut") {
  const std::string bytes =
      "\r\nPOST /a%20b?x=1&y=%41 HTTP/1.1\r\nHost: h\r\nX-One: 1\r\nContent-Length: 5\r\n\r\nhello"
      "POST /c HTTP/1.1\r\nhost: h\r\nTransfer-Encoding: Chunked\r\n\r\n"
      "3\r\nabc\r\n2;ext=1\r\nde\r\n0\r\nTrailer: t\r\n\r\n"
      "GET http://h/d HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
  for (const std::size_t piece : {1, 2, 3, 7, 64, 1000}) {
    INFO(piece);
    RequestReader reader((ServeLimits()));
    std::vector<Request> requests;
    for (std::size_t i = 0; i < bytes.size(); i += piece) {
      reader.push(std::string_view(bytes).substr(i, piece));
      while (reader.state() == State::kDone) requests.push_back(reader.take());
      REQUIRE(reader.state() != State::kBad);
    }
    REQUIRE(requests.size() == 3);
    CHECK(requests[0].method == "POST");
    CHECK(requests[0].path == "/a b");
    CHECK(requests[0].parameter("y") == "A");
    CHECK(requests[0].header("x-one") == "1");
    CHECK(requests[0].body == "hello");
    CHECK(requests[0].keep_alive);
    CHECK(requests[1].path == "/c");
    CHECK(requests[1].body == "abcde");
    CHECK(requests[2].path == "/d");
    CHECK(!requests[2].keep_alive);
    CHECK(reader.state() == State::kIdle);
  }
}

TEST_CASE("http request reader: a body in chunks is bounded too") {
  ServeLimits limits;
  limits.body_bytes = 1000;
  RequestReader reader(limits);
  reader.push("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
  for (int i = 0; i < 20 && reader.state() == State::kBody; ++i) {
    reader.push("64\r\n" + std::string(100, 'x') + "\r\n");
  }
  CHECK((reader.state() == State::kBad && reader.error().status == 413));
}
