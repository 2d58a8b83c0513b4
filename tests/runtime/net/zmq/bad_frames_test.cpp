#include <atomic>
#include <fstream>
#include <functional>
#include <mutex>
#include <set>

#include <catch2/catch.hpp>
#include <sys/resource.h>

#include <troupe/runtime/log.h>
#include <troupe/tests/runtime/net/zmq/raw_client.h>

// Tests bad input over real sockets, one case each: only the peer that sends it is dropped, a
// counter and one line of the log report it, and it costs hardly any memory.

using namespace troupe;
using namespace troupe::net;
using namespace troupe::net::test;

namespace {

// Collects what the library logs while the object exists.
class Lines {
 public:
  Lines() {
    set_log_sink(
        [this](LogLevel, std::string_view line) {
          std::lock_guard lock(mutex_);
          lines_.emplace_back(line);
        },
        LogLevel::kWarning);
  }
  ~Lines() { set_log_sink({}); }
  std::size_t with(const std::string& words) {
    std::lock_guard lock(mutex_);
    return static_cast<std::size_t>(std::count_if(
        lines_.begin(), lines_.end(),
        [&](const std::string& line) { return line.find(words) != std::string::npos; }));
  }

 private:
  std::mutex mutex_;
  std::vector<std::string> lines_;
};

std::uint64_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  std::uint64_t all = 0, resident = 0;
  statm >> all >> resident;
  return resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

template <class T>
void overwrite(RawParts& parts, std::size_t offset, T value) {
  std::memcpy(parts[0].data() + offset, &value, sizeof value);
}

// Lets a listed peer send `count` bad frames made by `make`. Checks that `counter` counts them,
// that one line reports all of them, and that both that peer and another are heard afterwards.
void check_dropped(std::uint64_t Counters::*counter, std::size_t count,
                   const std::function<RawParts(std::size_t)>& make) {
  Peer server;
  ListedClient raw(server);
  raw.connect(server.endpoint.port + 1);
  raw.send(raw_frame(1));
  REQUIRE(server.wait_frames(1));
  const std::uint64_t memory = resident_bytes();
  Lines lines;
  const auto began = std::chrono::steady_clock::now();
  for (std::size_t i = 0; i < count; ++i) raw.send(make(i));
  REQUIRE(counted(server, counter, count));
  CHECK(server.transport->counters().*counter == count);
  // There is one line per second, which names the peer.
  const auto seconds =
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::steady_clock::now() - began);
  const std::size_t said = lines.with(to_z85(raw.keys.public_key));
  CHECK(said >= 1);
  CHECK(said <= 1 + static_cast<std::size_t>(seconds.count()));
  CHECK(resident_bytes() < memory + (8u << 20));
  CHECK(server.frames.size() == 1);
  raw.send(raw_frame(90'000));
  REQUIRE(server.wait_frames(2));
  check_still_serves(server);
}

}  // namespace

TEST_CASE("bad input: a frame with any byte flipped", "[bad-input]") {
  // Damage each byte of the header, of the body and of the payload, but not the two of the version,
  // because a wrong version is another error.
  std::vector<std::pair<std::size_t, std::size_t>> places;
  for (std::size_t i = 72; i < wire::kHeaderBytes; ++i) places.emplace_back(0, i);
  for (std::size_t i = 6; i < 44; ++i)
    places.emplace_back(0, i);  // the incarnation, the epoch and the step among them
  for (std::size_t i = 48; i < 56; ++i) places.emplace_back(0, i);
  for (std::size_t part = 1; part < 3; ++part) {
    for (std::size_t i = 0; i < 20; ++i) places.emplace_back(part, i);
  }
  // A changed incarnation is refused as one that is not the connection's.
  std::erase_if(places, [](const auto& at) { return at.first == 0 && at.second - 16 < 8; });
  check_dropped(&Counters::rejected_checksum, places.size(), [&](std::size_t i) {
    RawParts parts = raw_frame(2 + i);
    parts[places[i].first][places[i].second] ^= std::byte{0x21};
    return parts;
  });
}

TEST_CASE("bad input: magic, reserved fields and sizes that are flipped", "[bad-input]") {
  std::vector<std::size_t> places = {0, 1, 2, 3, 44, 45, 46, 47, 60, 61, 62, 63};
  for (std::size_t i = 16; i < 24; ++i) places.push_back(i);  // the incarnation
  check_dropped(&Counters::rejected_header, places.size(), [&](std::size_t i) {
    RawParts parts = raw_frame(2 + i);
    parts[0][places[i]] ^= std::byte{0x21};
    return parts;
  });
}

TEST_CASE("bad input: a frame that claims any size up to 2^64", "[bad-input]") {
  // The sizes of payloads, and those of bodies, go from just over the bound to the largest number.
  std::vector<std::uint64_t> payloads = {wire::kPayloadBytesMax + 1, ~0ull, ~0ull - 1};
  for (int shift = 27; shift < 64; ++shift) payloads.push_back(1ull << shift);
  const std::vector<std::uint32_t> bodies = {wire::kBodyBytesMax + 1, 1u << 25, 1u << 31, ~0u};
  check_dropped(&Counters::rejected_header, payloads.size() + bodies.size(), [&](std::size_t i) {
    RawParts parts = raw_frame(2 + i);
    if (i < payloads.size()) {
      overwrite(parts, 64, payloads[i]);
    } else {
      overwrite(parts, 56, bodies[i - payloads.size()]);
    }
    return parts;
  });
}

TEST_CASE("bad input: a frame that claims a size within the bounds that it does not have",
          "[bad-input]") {
  check_dropped(&Counters::rejected_checksum, 40, [](std::size_t i) {
    RawParts parts = raw_frame(2 + i);
    i % 2 == 0 ? overwrite(parts, 64, std::uint64_t{1} << (i / 2 + 7))
               : overwrite(parts, 56, std::uint32_t{1} << (i / 2 + 5));
    return parts;
  });
}

TEST_CASE("bad input: a frame of another cluster", "[bad-input]") {
  check_dropped(&Counters::rejected_cluster, 30, [](std::size_t i) {
    wire::Header header;
    header.type = 9;
    header.cluster = i % 3 == 0 ? 0 : 77 ^ (1ull << (2 * i % 64));  // 0 stands for no cluster
    header.incarnation = 5;
    header.sequence = 2 + i;
    const auto head = wire::seal(header, {}, {});
    return RawParts{{head.begin(), head.end()}};
  });
}

TEST_CASE("bad input: a frame of another version", "[bad-input]") {
  check_dropped(&Counters::rejected_version, 30, [](std::size_t i) {
    wire::Header header;
    header.version = static_cast<std::uint16_t>(wire::kProtocolVersion + 1 + i * 2000);
    header.type = 9;
    header.cluster = 77;
    header.incarnation = 5;
    header.sequence = 2 + i;
    const auto head = wire::seal(header, {}, {});
    return RawParts{{head.begin(), head.end()}};
  });
}

TEST_CASE("bad input: frames said again, and from too long ago", "[bad-input]") {
  std::uint64_t said = 0;
  check_dropped(&Counters::rejected_sequence, 60, [&](std::size_t) {
    return raw_frame(said++ % 2);  // 0 is never accepted, and 1 was accepted before
  });
}

TEST_CASE("bad input: frames out of order are each heard once", "[bad-input]") {
  Peer server;
  ListedClient raw(server);
  raw.connect(server.endpoint.port);
  for (const std::uint64_t sequence : {5u, 3u, 9u, 3u, 1u, 9u, 2u, 5000u, 4u}) {
    raw.send(raw_frame(sequence));
  }
  // The frames 3 and 9 came again, and 4 is too old.
  REQUIRE(counted(server, &Counters::rejected_sequence, 3));
  REQUIRE(server.wait_frames(6));
  std::set<std::uint64_t> heard;
  for (const InFrame& frame : server.frames) CHECK(heard.insert(frame.header.sequence).second);
  CHECK(heard == std::set<std::uint64_t>{1, 2, 3, 5, 9, 5000});
}

TEST_CASE("bad input: a peer without a key, with a wrong one, and with a revoked one",
          "[bad-input]") {
  Peer server;
  ListedClient known(server);
  known.connect(server.endpoint.port);
  known.send(raw_frame(1));
  REQUIRE(server.wait_frames(1));
  Lines lines;
  server.transport->revoke(known.keys.public_key);
  pause_ms(50);
  for (std::uint64_t i = 2; i < 50; ++i) known.send(raw_frame(i));
  REQUIRE(counted(server, &Counters::rejected_revoked, 48));
  RawClient again, stranger, plain;
  again.use_keys(known.keys, server.key);
  stranger.use_keys(make_key_pair(), server.key);
  for (RawClient* raw : {&again, &stranger, &plain}) {
    raw->connect(server.endpoint.port);
    raw->send(raw_frame(100));
  }
  REQUIRE(counted(server, &Counters::refused_keys, 2));
  CHECK(lines.with("refused a connection from 127.0.0.1") >= 1);
  CHECK(lines.with("refused a connection from 127.0.0.1") <= 2);
  check_still_serves(server);
  CHECK(server.frames.size() == 4);  // the first, and what check_still_serves said
}

TEST_CASE("bad input: a thousand connections that say nothing", "[bad-input]") {
  constexpr std::size_t kConnections = 1000;
  rlimit limit{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &limit) == 0);
  if (limit.rlim_cur < 2500) {
    limit.rlim_cur = std::min<rlim_t>(limit.rlim_max, 4096);
    ::setrlimit(RLIMIT_NOFILE, &limit);
  }
  Peer server;  // the server's handshakes time out after one second
  check_still_serves(server);
  const std::uint64_t before = resident_bytes();
  Lines lines;
  std::vector<int> fds;
  for (std::size_t i = 0; i < kConnections; ++i) {
    const int fd = tcp_connect(server.endpoint.port + static_cast<int>(i) % kChannels);
    REQUIRE(fd >= 0);
    fds.push_back(fd);
  }
  std::uint64_t most = resident_bytes();
  for (int i = 0; i < 500; ++i) {
    most = std::max(most, resident_bytes());
    if (server.transport->counters().closed_unproven >= kConnections) break;
    pause_ms(20);
  }
  CHECK(server.transport->counters().closed_unproven == kConnections);
  INFO("grew by " << (most - before) / kConnections << " bytes a connection");
  CHECK(most - before <= kConnections * (64u << 10));
  // One line a second for each of three ports, not one for each connection.
  CHECK(lines.with("proved no key") >= 1);
  CHECK(lines.with("proved no key") <= 30);
  check_still_serves(server);
  CHECK(server.frames.size() == 6);
  for (const int fd : fds) ::close(fd);
}
