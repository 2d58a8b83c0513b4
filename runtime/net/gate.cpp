#include <algorithm>

#include <troupe/runtime/clock.h>
#include <troupe/runtime/log.h>
#include <troupe/runtime/net/gate.h>

namespace troupe::net {
namespace {

// The number of processes of one key (enrolling machines, restarts) whose sequence numbers are
// remembered on each channel.
constexpr std::size_t kSendersMax = 32;
// The number of revoked keys whose sequence numbers are kept.
constexpr std::size_t kForgottenMax = 1024;

}  // namespace

std::uint64_t body_bytes_max(Channel channel) {
  return channel == Channel::kBulk ? wire::kBulkPayloadBytesMax : wire::kBodyBytesMax;
}

std::uint64_t payload_bytes_max(Channel channel) {
  switch (channel) {
    case Channel::kControl:
      return wire::kBulkPayloadBytesMax;
    case Channel::kActivations:
      return wire::kPayloadBytesMax;
    case Channel::kBulk:
      return wire::kBulkPayloadBytesMax;
  }
  return 0;
}

const char* channel_name(Channel channel) {
  switch (channel) {
    case Channel::kControl:
      return "control";
    case Channel::kActivations:
      return "activations";
    case Channel::kBulk:
      return "bulk";
  }
  return "unknown";
}

void Gate::reject(AtomicCounters::Counter& counter, const PublicKey& peer, const std::string& why) {
  counters_.add(counter);
  std::int64_t& logged_ms = peers_[peer].logged_ms;
  const std::int64_t now = monotonic_us() / 1000;
  if (now - logged_ms < 1000 || !log_enabled(LogLevel::kWarning)) return;
  logged_ms = now;
  log(LogLevel::kWarning, "dropped a frame from " + to_z85(peer) + ": " + why);
}

void Gate::forget(const PublicKey& peer) {
  if (!peers_.contains(peer)) return;
  std::erase(forgotten_, peer);  // a key that was revoked before moves to the end
  forgotten_.push_back(peer);
  if (forgotten_.size() <= kForgottenMax) return;
  const PublicKey oldest = forgotten_.front();
  forgotten_.pop_front();
  if (!allowed_.role(oldest)) peers_.erase(oldest);
}

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

std::optional<InFrame> Gate::admit(const Source& source, const RawFrame& raw,
                                   Status* other_version) {
  const auto drop = [&](AtomicCounters::Counter& counter, const std::string& why) {
    reject(counter, source.peer, why);
    return std::nullopt;
  };
  std::optional<Role> role = allowed_.role(source.peer);
  if (!role) role = source.role_unlisted;
  if (!role) {
    // Nothing is recorded about a revoked key, not even when its frames were last logged.
    counters_.add(counters_.rejected_revoked);
    return std::nullopt;
  }
  if (raw.parts == 0 || raw.parts > 3) {
    return drop(counters_.rejected_header,
                "it has " + std::to_string(raw.parts) + " parts, but a frame has 1 to 3");
  }
  const Result<wire::Header> header = wire::parse_header(raw.header, version_);
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
  const Status whole = wire::verify(*header, raw.header, raw.body, raw.payload);
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
  frame.body.assign(raw.body.begin(), raw.body.end());
  counters_.received(source.channel, raw.header.size() + raw.body.size() + raw.payload.size());
  return frame;
}

}  // namespace troupe::net
