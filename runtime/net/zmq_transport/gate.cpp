#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

#include <troupe/runtime/log.h>
#include <troupe/runtime/net/zmq_transport/gate.h>

namespace troupe::net::zmq {
namespace {

// Processes of one key (enrolling machines, restarts) whose sequences are remembered a channel.
constexpr std::size_t kSendersMax = 32;
constexpr std::size_t kAlignment = 64;

// Small payloads in aligned memory of their own, large ones in the message that brought them.
Payload take_payload(Message& part) {
  const auto bytes = part.bytes();
  if (bytes.empty()) return {};
  if (bytes.size() >= kSharedBytesMin) {
    auto keep = std::make_shared<const Message>(std::move(part));
    return {keep, keep->bytes()};
  }
  const std::size_t rounded = (bytes.size() + kAlignment - 1) / kAlignment * kAlignment;
  std::shared_ptr<std::byte> copy(static_cast<std::byte*>(std::aligned_alloc(kAlignment, rounded)),
                                  std::free);
  if (!copy) throw std::bad_alloc();
  std::memcpy(copy.get(), bytes.data(), bytes.size());
  return {copy, {copy.get(), bytes.size()}};
}

}  // namespace

bool Parts::receive(Socket& socket, Parts& parts) {
  parts.count = 0;
  if (!socket.receive(parts.part[0])) return false;
  parts.count = 1;
  parts.receive_rest(socket, parts.part[0].more());
  return true;
}

void Parts::receive_rest(Socket& socket, bool more) {
  Message surplus;
  while (more) {
    Message& next = count < part.size() ? part[count] : surplus;
    if (!socket.receive(next)) return;
    more = next.more();
    ++count;
  }
}

void Gate::reject(AtomicCounters::Counter& counter, const PublicKey& peer, const std::string& why) {
  counters_.add(counter);
  std::int64_t& logged_ms = peers_[peer].logged_ms;
  const std::int64_t now = monotonic_ms();
  if (now - logged_ms < 1000 || !log_enabled(LogLevel::kWarning)) return;
  logged_ms = now;
  log(LogLevel::kWarning, "dropped a frame from " + to_z85(peer) + ": " + why);
}

void Gate::forget(const PublicKey& peer) { peers_.erase(peer); }

bool Gate::new_sequence(const PublicKey& peer, const wire::Header& header, Channel channel) {
  auto& senders = peers_[peer].senders[static_cast<std::size_t>(channel)];
  auto sender = std::find_if(senders.begin(), senders.end(),
                             [&](const Sender& s) { return s.incarnation == header.incarnation; });
  if (sender == senders.end()) {
    if (senders.size() < kSendersMax) {
      sender = senders.emplace(senders.end());
    } else {
      sender = std::min_element(senders.begin(), senders.end(),
                                [](const Sender& a, const Sender& b) { return a.used < b.used; });
      *sender = Sender{};
    }
    sender->incarnation = header.incarnation;
  }
  sender->used = ++uses_;
  return sender->window.accept(header.sequence);
}

std::optional<InFrame> Gate::admit(const Source& source, Parts& parts, Status* other_version) {
  const auto drop = [&](AtomicCounters::Counter& counter, const std::string& why) {
    reject(counter, source.peer, why);
    return std::nullopt;
  };
  std::optional<Role> role = allowed_.role(source.peer);
  if (!role) role = source.role_unlisted;
  if (!role) {
    // Nothing is remembered of a revoked key, not even when its frames were last mentioned.
    counters_.add(counters_.rejected_revoked);
    return std::nullopt;
  }
  if (parts.count == 0 || parts.count > parts.part.size()) {
    return drop(counters_.rejected_header,
                "it has " + std::to_string(parts.count) + " parts, 1 to 3 are a frame");
  }
  const auto head = parts.part[0].bytes();
  const Result<wire::Header> header = wire::parse_header(head, version_);
  if (header.code() == Code::kFailedPrecondition) {
    *other_version = header.status();
    return drop(counters_.rejected_version, header.message());
  }
  if (!header) return drop(counters_.rejected_header, header.message());
  if (header->payload_bytes > payload_bytes_max(source.channel) ||
      header->body_bytes > body_bytes_max(source.channel)) {
    return drop(counters_.rejected_header, std::string("it is too large for the ") +
                                               channel_name(source.channel) + " channel");
  }
  if (header->incarnation == 0 ||
      (source.incarnation != 0 && source.incarnation != header->incarnation)) {
    return drop(counters_.rejected_header, "its sender's incarnation is not the connection's");
  }
  const auto body = parts.count > 1 ? parts.part[1].bytes() : std::span<const std::byte>();
  const auto payload = parts.count > 2 ? parts.part[2].bytes() : std::span<const std::byte>();
  const Status whole = wire::verify(*header, head, body, payload);
  if (!whole) return drop(counters_.rejected_checksum, whole.message());
  const bool stranger = header->cluster != cluster_ && cluster_ != 0;
  if (stranger && !(header->cluster == 0 && *role == Role::kEnrol)) {
    return drop(counters_.rejected_cluster, "it is of cluster " + std::to_string(header->cluster) +
                                                ", ours is " + std::to_string(cluster_));
  }
  if (!new_sequence(source.peer, *header, source.channel)) {
    return drop(counters_.rejected_sequence,
                "its sequence number " + std::to_string(header->sequence) + " came before");
  }
  InFrame frame;
  frame.peer = source.peer;
  frame.role = *role;
  frame.channel = source.channel;
  frame.header = *header;
  frame.body.assign(body.begin(), body.end());
  counters_.add(counters_.frames_in);
  counters_.add(counters_.bytes_in, head.size() + body.size() + payload.size());
  if (parts.count > 2) frame.payload = take_payload(parts.part[2]);
  return frame;
}

}  // namespace troupe::net::zmq
