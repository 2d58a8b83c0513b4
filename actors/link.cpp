#include <algorithm>

#include <troupe/actors/link.h>
#include <troupe/runtime/clock.h>

namespace troupe::actors {
namespace {

// How many frames one peer may send. (A bulk frame asks for 256 KiB or brings as much, except for
// the last piece of a part.)
constexpr std::size_t kLargePayload = 64 << 10;
constexpr net::Pace kControlFrames{10'000, 2'000}, kBulkFrames{16'000, 8'000};

}  // namespace

std::uint64_t next_request_id() {
  static std::atomic<std::uint64_t> next{1};
  return next++;
}

std::shared_ptr<Link> Link::with_sockets(const net::TransportOptions& options,
                                         TransportMaker maker) {
  std::shared_ptr<Link> link(new Link);
  link->identity_ = options.identity;
  link->head_ = options.identity.public_key;
  link->incarnation_ = options.incarnation;
  link->cluster_ = options.cluster;
  // The handlers hold a plain pointer to the link, which closes the transport, and joins its
  // thread, before it is destroyed.
  Link* raw = link.get();
  net::Handlers handlers;
  handlers.on_frame = [raw](net::InFrame frame) { raw->deliver(std::move(frame)); };
  handlers.on_connected = [raw](const net::PublicKey& peer, net::Channel channel) {
    raw->deliver(PeerEvent{PeerEvent::Kind::kConnected, peer, channel, Status::ok()});
  };
  handlers.on_disconnected = [raw](const net::PublicKey& peer, net::Channel channel,
                                   const Status& why) {
    raw->deliver(PeerEvent{PeerEvent::Kind::kDisconnected, peer, channel, why});
  };
  handlers.on_peer_left = [raw](const net::PublicKey& peer, net::Channel channel) {
    raw->deliver(PeerEvent{PeerEvent::Kind::kLeft, peer, channel, Status::ok()});
  };
  link->make_transport_ = [options, handlers, maker = std::move(maker)] {
    return maker(options, handlers);
  };
  return link;
}

Status Link::open_sockets() {
  // Frames may arrive before make_transport_() returns. Actors that answer them wait for this lock.
  std::lock_guard lock(transport_mutex_);
  TROUPE_CHECK(make_transport_ != nullptr, "the link has no sockets, or they were opened already");
  auto transport = std::exchange(make_transport_, nullptr)();
  TROUPE_RETURN_IF_ERROR(transport.status());
  transport_ = std::move(*transport);
  return Status::ok();
}

Result<std::shared_ptr<Link>> Link::open(const net::TransportOptions& options,
                                         const TransportMaker& maker) {
  auto link = with_sockets(options, maker);
  TROUPE_RETURN_IF_ERROR(link->open_sockets());
  return link;
}

net::Transport* Link::transport() const {
  std::shared_lock lock(transport_mutex_);
  return transport_.get();
}

std::shared_ptr<Link> Link::loopback() {
  std::shared_ptr<Link> link(new Link);
  link->identity_ = net::make_key_pair();
  link->head_ = link->self();
  link->incarnation_ = net::random_u64();
  link->cluster_ = net::random_u64();
  return link;
}

Link::~Link() { close(); }

void Link::close() {
  std::unique_ptr<net::Transport> transport;
  std::map<Room, link_user> rooms;
  std::map<std::uint64_t, WorkerRoute> workers;
  std::map<std::uint64_t, EngineRoute> engines;
  {
    std::lock_guard lock(mutex_);
    rooms.swap(rooms_);
    workers.swap(workers_);
    engines.swap(engines_);
  }
  std::lock_guard lock(transport_mutex_);
  transport.swap(transport_);
}

Status Link::send(const net::PublicKey& to, MessageType type, std::uint64_t epoch,
                  std::uint64_t step, std::vector<std::byte> body, net::Payload payload,
                  std::uint64_t to_incarnation) {
  const MessageRow* row = find_message(static_cast<std::uint16_t>(type));
  TROUPE_CHECK(row != nullptr, std::to_string(static_cast<int>(type)));
  wire::Header header;
  header.type = static_cast<std::uint16_t>(type);
  header.cluster = cluster_;
  header.incarnation = incarnation_;
  header.epoch = epoch;
  header.step = step;
  if (to == self()) {
    net::InFrame frame;
    frame.peer = to;
    frame.role = net::Role::kHead;
    frame.channel = row->channel;
    frame.header = header;
    frame.body = std::move(body);
    frame.payload = std::move(payload);
    deliver(std::move(frame));
    return Status::ok();
  }
  net::OutFrame frame{header, std::move(body), std::move(payload), to_incarnation};
  // The lock keeps close() from destroying the transport under us.
  std::shared_lock lock(transport_mutex_);
  if (!transport_) {
    return Status(Code::kUnavailable, "this process has no connection to other nodes any more");
  }
  return transport_->send(to, row->channel, std::move(frame));
}

void Link::disconnect(const net::PublicKey& peer) {
  {
    std::shared_lock lock(transport_mutex_);
    if (!transport_) return;
    transport_->disconnect(peer);
  }
  const Status gone(Code::kUnavailable, "the peer is gone");
  for (const auto channel :
       {net::Channel::kControl, net::Channel::kActivations, net::Channel::kBulk}) {
    deliver(PeerEvent{PeerEvent::Kind::kDisconnected, peer, channel, gone});
  }
}

void Link::attach(Room room, link_user user) {
  std::lock_guard lock(mutex_);
  rooms_.insert_or_assign(room, std::move(user));
}
void Link::attach_worker(std::uint64_t epoch, const net::PublicKey& from, FrameTaker worker) {
  std::lock_guard lock(mutex_);
  workers_.insert_or_assign(
      epoch, WorkerRoute{from, std::make_shared<const FrameTaker>(std::move(worker))});
}
void Link::attach_worker(std::uint64_t epoch, const net::PublicKey& from, frame_sink worker) {
  attach_worker(epoch, from,
                FrameTaker([worker](const FramePtr& frame) { caf::anon_send(worker, frame); }));
}
void Link::attach_engine(std::uint64_t epoch, PathPeers path, frame_sink engine) {
  std::lock_guard lock(mutex_);
  engines_.insert_or_assign(epoch, EngineRoute{std::move(path), std::move(engine)});
}
void Link::detach_worker(std::uint64_t epoch) {
  std::lock_guard lock(mutex_);
  workers_.erase(epoch);
}
void Link::detach_engine(std::uint64_t epoch) {
  std::lock_guard lock(mutex_);
  engines_.erase(epoch);
}

void Link::set_head(const net::PublicKey& head) {
  std::lock_guard lock(mutex_);
  head_ = head;
}

net::PublicKey Link::head() const {
  std::lock_guard lock(mutex_);
  return head_;
}

void Link::set_cluster(std::uint64_t cluster) {
  cluster_ = cluster;
  std::shared_lock lock(transport_mutex_);
  if (transport_) transport_->set_cluster(cluster);
}

LinkCounters Link::counters() const {
  LinkCounters counters;
  {
    std::shared_lock lock(transport_mutex_);
    if (transport_) counters.transport = transport_->counters();
  }
  counters.stale_frames = stale_;
  counters.strange_frames = strange_;
  counters.hasty_frames = hasty_;
  counters.foreign_orders = foreign_;
  counters.wrong_role_frames = wrong_role_;
  counters.unknown_frames = unknown_;
  counters.undecodable_frames = undecodable_;
  return counters;
}

namespace {

Room room_of(MessageType type) {
  switch (type) {
    case MessageType::kEnrol:
    case MessageType::kHello:
    case MessageType::kHeartbeat:
    case MessageType::kLeave:
    case MessageType::kPeersAllowed:
    case MessageType::kPrefetched:
    case MessageType::kMeasured:
    case MessageType::kPlanModel:
    case MessageType::kStageLoaded:
    case MessageType::kStageFailed:
    case MessageType::kOpenModel:
    case MessageType::kSubmit:
    case MessageType::kCancel:
    case MessageType::kStatusQuery:
    case MessageType::kManage:
      return Room::kCoordinator;
    case MessageType::kServePeers:
    case MessageType::kModelReady:
    case MessageType::kTokens:
    case MessageType::kFinished:
    case MessageType::kStatusReply:
    case MessageType::kManaged:
    case MessageType::kJobReply:
      return Room::kClient;
    case MessageType::kJobAsk:
    case MessageType::kJobKinds:
    case MessageType::kJobTaskDone:
      return Room::kJobs;
    case MessageType::kJobTask:
      return Room::kTasks;
    case MessageType::kServing:
    case MessageType::kFetchBlob:
    case MessageType::kBlobChunk:
    case MessageType::kBlobMissing:
      return Room::kBulk;
    default:
      return Room::kNode;
  }
}

}  // namespace

// Tells a process that was given our second or third port that this is wrong: otherwise it would
// wait in vain.
void Link::tell_wrong_port(const net::InFrame& frame) {
  const auto type = static_cast<MessageType>(frame.header.type);
  if (type != MessageType::kEnrol && type != MessageType::kHello) return;
  const Status wrong(Code::kInvalidArgument,
                     std::string("that port is the head's for ") +
                         (frame.channel == net::Channel::kBulk ? "weights" : "activations") +
                         "; give the one that 'troupe start' printed, which is the lowest of its "
                         "three");
  net::OutFrame answer;
  answer.header.type = static_cast<std::uint16_t>(MessageType::kRefused);
  answer.header.cluster = cluster_;
  answer.body = wire::encode(Refused{wrong, false});
  answer.to_incarnation = frame.header.incarnation;
  std::shared_lock lock(transport_mutex_);
  if (!transport_) return;
  const Status sent = transport_->send(frame.peer, frame.channel, std::move(answer));
  if (!sent) log(LogLevel::kInfo, "cannot answer at the wrong port: " + sent.message());
}

// Tells a client that its role may not send the message: otherwise it would wait for an answer in
// vain.
void Link::tell_wrong_role(const net::InFrame& frame, const char* message) {
  const Status wrong(Code::kPermissionDenied,
                     std::string("a client of the role '") + net::role_name(frame.role) +
                         "' may not send '" + message +
                         "'; the cluster's admin can make a token of another role ('troupe key "
                         "new --role')");
  const Status sent = answer(frame, MessageType::kRefused, Refused{wrong, false});
  if (!sent) log(LogLevel::kInfo, "cannot refuse a client: " + sent.message());
}

// Delivers a step if it comes from the stage before, a result if it comes from the last one, and a
// failure from any stage. A node that has no part in a deployment, or another part, must not speak
// for those that have.
void Link::deliver_step(const FramePtr& mail, MessageType type) {
  const std::uint64_t epoch = mail->header.epoch;
  std::shared_ptr<const FrameTaker> worker;
  frame_sink engine;
  {
    std::lock_guard lock(mutex_);
    if (type == MessageType::kStep) {
      const auto found = workers_.find(epoch);
      if (found == workers_.end()) {
        ++stale_;
        return;
      }
      if (found->second.from == mail->peer) worker = found->second.taker;
    } else {
      const auto found = engines_.find(epoch);
      if (found == engines_.end()) {
        ++stale_;
        return;
      }
      const PathPeers& path = found->second.path;
      const bool may =
          type == MessageType::kStepDone
              ? path.last == mail->peer
              : std::find(path.stages.begin(), path.stages.end(), mail->peer) != path.stages.end();
      if (may) engine = found->second.engine;
    }
  }
  if (worker) {
    (*worker)(mail);
  } else if (engine) {
    caf::anon_send(engine, mail);
  } else if (++strange_ == 1) {
    log(LogLevel::kWarning, "dropped a step of the peer " + net::key_id(mail->peer) +
                                ", which has no such place in epoch " + std::to_string(epoch) +
                                "; more are counted (strange_frames)");
  }
}

void Link::tell_hasty(const net::InFrame& frame, const net::Pace& pace) {
  const std::string who = net::is_client(frame.role) ? "client" : "node";
  const Status slower(Code::kResourceExhausted,
                      "this " + who + " sends more than " + std::to_string(pace.a_second) +
                          " messages a second on the " + net::channel_name(frame.channel) +
                          " channel; send fewer, or share the work among several " + who + "s");
  log(LogLevel::kWarning, who + " " + net::key_id(frame.peer) + ": " + slower.message());
  // A node gets no answer, which would end its membership; only rogue nodes send that much. A
  // client gets none on the bulk channel, because the answer would end everything for which the
  // client waits.
  if (!net::is_client(frame.role) || frame.channel == net::Channel::kBulk) return;
  const Status sent = answer(frame, MessageType::kRefused, Refused{slower, false});
  if (!sent) log(LogLevel::kInfo, "cannot refuse a client: " + sent.message());
}

// Says whether a peer sends more frames than it may, because each is mail for an actor that others
// wait for. (Steps have credits, and those that nobody expects are dropped before they are mail.)
bool Link::is_hasty(const net::InFrame& frame) {
  const bool client = net::is_client(frame.role);
  if ((!client && frame.role != net::Role::kNode) || frame.peer == self()) return false;
  if (frame.channel == net::Channel::kActivations) return false;
  const bool bulk = frame.channel == net::Channel::kBulk;
  // The network bounds large frames, which are weights that this process has asked for.
  if (bulk && frame.payload.data.size() >= kLargePayload) return false;
  const net::Pace pace = bulk ? kBulkFrames : kControlFrames;
  const std::int64_t now_us = monotonic_us();
  bool tell = false;
  {
    std::lock_guard lock(pace_mutex_);
    if ((bulk ? bulk_pace_ : control_pace_).admit(frame.peer, pace, now_us)) return false;
    tell = now_us - told_hasty_us_ > 1'000'000;
    if (tell) told_hasty_us_ = now_us;
  }
  ++hasty_;
  if (tell) tell_hasty(frame, pace);
  return true;
}

bool Link::is_foreign_order(const net::InFrame& frame, const MessageRow& row) {
  if (row.scope != Scope::kOrder) return false;
  {
    std::lock_guard lock(mutex_);
    if (frame.peer == head_) return false;
  }
  if (++foreign_ == 1) {
    log(LogLevel::kWarning, std::string("dropped '") + row.name + "' of the peer " +
                                net::key_id(frame.peer) +
                                ", which is not the head of this process; more are counted "
                                "(foreign_orders)");
  }
  return true;
}

void Link::deliver(net::InFrame frame) {
  const MessageRow* row = find_message(frame.header.type);
  if (row == nullptr) {
    ++unknown_;
    return;
  }
  if ((row->senders & role_bit(frame.role)) == 0 || row->channel != frame.channel) {
    ++wrong_role_;
    if (row->channel != frame.channel) tell_wrong_port(frame);
    log(LogLevel::kWarning, std::string("dropped a frame '") + row->name +
                                "' from a peer of role '" + net::role_name(frame.role) +
                                "', which may not send it");
    if (row->channel == frame.channel && net::is_client(frame.role)) {
      tell_wrong_role(frame, row->name);
    }
    return;
  }
  if (is_foreign_order(frame, *row) || is_hasty(frame)) return;
  auto mail = std::make_shared<const net::InFrame>(std::move(frame));
  if (row->scope == Scope::kPath) return deliver_step(mail, row->type);
  // A head's answer to a Hello goes to the node if this process is a daemon, and otherwise to the
  // client.
  Room room = room_of(row->type);
  link_user user;
  {
    std::lock_guard lock(mutex_);
    auto found = rooms_.find(room);
    if (found == rooms_.end() && room == Room::kNode) found = rooms_.find(Room::kClient);
    if (found != rooms_.end()) user = found->second;
  }
  if (!user) {
    ++unknown_;
    return;
  }
  caf::anon_send(user, FramePtr(std::move(mail)));
}

void Link::deliver(PeerEvent event) {
  std::map<Room, link_user> rooms;
  {
    std::lock_guard lock(mutex_);
    rooms = rooms_;
  }
  const auto mail = std::make_shared<const PeerEvent>(std::move(event));
  for (const auto& [room, user] : rooms) caf::anon_send(user, PeerEventPtr(mail));
}

}  // namespace troupe::actors
