#include <algorithm>
#include <utility>

#include <troupe/actors/bulk/bulk.h>
#include <troupe/actors/bulk/fetch_rights.h>
#include <troupe/actors/message_handlers.h>
#include <troupe/model/source/open_model.h>
#include <troupe/runtime/clock.h>
#include <troupe/runtime/file.h>
#include <troupe/runtime/log.h>
#include <troupe/runtime/sha256.h>

namespace troupe::actors {
namespace {

constexpr std::chrono::milliseconds kTick{500};
constexpr std::int64_t kPatienceUs = 10'000'000;  // how long to wait for a source, or for a chunk
constexpr std::int64_t kStallUs = 3'000'000;  // how long to wait for a source if there are others
constexpr std::size_t kBackgroundWindow = 4;
// While other fetches wait, a fetch that does not bring this many bytes in its turn gives way to
// the next one. (Two chunks in a second: the slowest networks that are worth fetching from bring
// that.)
constexpr std::int64_t kTurnUs = 1'000'000;
constexpr std::uint64_t kTurnBytesMin = 2 * FetchPlan::kChunkBytes;

// The address of a blob's bytes in memory, and what keeps them there.
struct Place {
  std::shared_ptr<const void> keep;
  std::span<const std::byte> bytes;
};

// A blob that is being written to the store.
struct Incoming {
  std::unique_ptr<model::BlobWriter> writer;
  std::map<std::uint64_t, net::Payload> early;  // by offset: chunks that overtook others

  Status take(std::uint64_t offset, const net::Payload& chunk) {
    early.emplace(offset, chunk);
    for (auto next = early.find(writer->received()); next != early.end();
         next = early.find(writer->received())) {
      TROUPE_RETURN_IF_ERROR(writer->append(next->second.data));
      early.erase(next);
    }
    return Status::ok();
  }
};

struct Fetch {
  FetchPtr request;
  FetchPlan plan;
  std::map<std::string, Incoming> incoming;  // claimed blobs
  std::set<net::PublicKey> lost;
  // By source: when its last chunk came, or when it last had no chunk to send.
  std::map<net::PublicKey, std::int64_t> heard_us;
  Status trouble;  // what was wrong with the last faulty blob
  std::uint64_t bytes = 0;
  std::int64_t last_progress_us = 0;
  std::int64_t turn_us = 0;      // when its turn began
  std::uint64_t turn_bytes = 0;  // the value of `bytes` then
  std::int64_t idle_us = 0;      // how long its turns have lasted since its last byte came
};

// A grant comes over the control connection, and may arrive after the first request of a peer that
// it admits. A request of a peer that has no right yet is held for this long; then the peer is told
// that the blob is absent.
constexpr std::int64_t kGrantUs = 1'000'000;
// The limit for one peer, which asks for a window of chunks at a time.
constexpr std::ptrdiff_t kHeldMax = 64;
struct HeldAsk {
  net::PublicKey peer{};
  FetchBlob ask;
  std::int64_t since_us = 0;
};

struct BulkShell {
  std::map<std::string, Place> exported;
  std::set<net::PublicKey> serving;  // peers to ask: those that we reached, or that sent kServing
  std::deque<Fetch> fetches;         // the front one is running
  bool ticking = false;              // a tick is due: there are fetches, or asks that are held
  FetchRights rights;
  std::deque<HeldAsk> held;  // the oldest first
};
using Self = bulk_actor::stateful_pointer<BulkShell>;
using Setup = std::shared_ptr<const BulkSetup>;

// ---- serving ---------------------------------------------------------------------------------

void export_file(BulkShell& shell, const ExportedFile& exported) {
  auto opened = model::open_model(exported.path);
  if (!opened) {
    log(LogLevel::kError, "cannot serve " + exported.path + ": " + opened.message());
    return;
  }
  const std::shared_ptr<const model::WholeModel> file = std::move(*opened);
  const auto add = [&](const model::BlobRef& blob, std::uint64_t offset) {
    const std::span<const std::byte> bytes = file->piece(offset, blob.bytes);
    if (bytes.size() == blob.bytes) shell.exported[blob.sha256] = {file, bytes};
  };
  add(exported.manifest.header, 0);
  for (const auto& tensor : exported.manifest.tensors) add(tensor.blob, tensor.offset);
}

// True if the peer may have the blob. Any other blob is called absent, so that nobody learns what
// lies here.
bool may_fetch(const BulkShell& shell, const Setup& setup, const net::PublicKey& peer,
               const std::string& sha256) {
  return peer == setup->link->head() || shell.rights.may(peer, sha256);
}

// Returns the bytes that a peer asked for. Blobs of the store are checked and copied each time: a
// blob that was changed is not served, and a mapped one that is truncated would end this process.
Result<net::Payload> piece_of(const BulkShell& shell, const Setup& setup,
                              const net::PublicKey& peer, const FetchBlob& ask) {
  const Status absent(Code::kNotFound, "blob " + ask.sha256.substr(0, 64) + " is not here");
  if (!may_fetch(shell, setup, peer, ask.sha256)) return absent;
  if (ask.length > FetchPlan::kChunkBytes) {
    return Status(Code::kInvalidArgument, "the range asked for is longer than a chunk");
  }
  const auto found = shell.exported.find(ask.sha256);
  if (found != shell.exported.end()) {
    const auto& [keep, bytes] = found->second;
    if (ask.offset > bytes.size() || ask.length > bytes.size() - ask.offset) {
      return Status(Code::kInvalidArgument, "the range asked for is outside of the blob");
    }
    return net::Payload{keep, bytes.subspan(ask.offset, ask.length)};
  }
  if (!setup->serves_store || !is_sha256_hex(ask.sha256) || !setup->store ||
      !setup->store->has_blob(ask.sha256)) {
    return absent;
  }
  auto read = read_piece(setup->store->blob_path(ask.sha256), ask.offset, ask.length);
  if (!read) return read.status();
  const auto piece = std::make_shared<const std::vector<std::byte>>(std::move(*read));
  return net::Payload{piece, *piece};
}

void answer_ask(const BulkShell& shell, const Setup& setup, const net::PublicKey& peer,
                const FetchBlob& ask) {
  const auto piece = piece_of(shell, setup, peer, ask);
  Status sent;
  if (!piece) {
    sent = setup->link->send(peer, MessageType::kBlobMissing,
                             BlobMissing{ask.sha256, piece.message()});
  } else {
    sent = setup->link->send(peer, MessageType::kBlobChunk, BlobChunk{ask.sha256, ask.offset}, 0, 0,
                             *piece);
  }
  if (!sent) log(LogLevel::kWarning, "cannot send a part of a model: " + sent.message());
}

void tick_soon(Self self) {
  if (!std::exchange(self->state.ticking, true)) {
    self->delayed_send(self, kTick, tick_atom::value);
  }
}

void on_fetch_blob(Self self, const Setup& setup, const net::InFrame& frame, const FetchBlob& ask) {
  BulkShell& shell = self->state;
  const auto is_full = [&] {
    return std::count_if(shell.held.begin(), shell.held.end(),
                         [&](const HeldAsk& one) { return one.peer == frame.peer; }) >= kHeldMax;
  };
  if (may_fetch(shell, setup, frame.peer, ask.sha256) || is_full()) {
    return answer_ask(shell, setup, frame.peer, ask);
  }
  shell.held.push_back({frame.peer, ask, monotonic_us()});
  tick_soon(self);
}

// Answers the asks that may be answered now, and those that have waited for long enough.
void check_held(BulkShell& shell, const Setup& setup) {
  const std::int64_t now_us = monotonic_us();
  std::deque<HeldAsk> still;
  for (HeldAsk& one : shell.held) {
    if (may_fetch(shell, setup, one.peer, one.ask.sha256) || now_us - one.since_us >= kGrantUs) {
      answer_ask(shell, setup, one.peer, one.ask);
    } else {
      still.push_back(std::move(one));
    }
  }
  shell.held = std::move(still);
}

// ---- fetching --------------------------------------------------------------------------------

void start_next(Self self, const Setup& setup);

void finish(Self self, const Setup& setup, const Status& status) {
  Fetch fetch = std::move(self->state.fetches.front());
  self->state.fetches.pop_front();
  fetch.incoming.clear();
  fetch.request->done(status, fetch.bytes);
  start_next(self, setup);
}

// Puts a complete blob into the store; if it is wrong, it is fetched again from another source.
void commit(Fetch& fetch, const net::PublicKey& source, const std::string& sha256) {
  const Status stored = fetch.incoming.at(sha256).writer->commit();
  fetch.incoming.erase(sha256);
  if (stored) return fetch.plan.done(sha256);
  log(LogLevel::kWarning, "a part of a model is fetched again: " + stored.message());
  fetch.trouble = stored;
  fetch.plan.lacks(source, sha256);
}

// Assigns blobs to a source and asks it for their chunks, while its window has room.
Status ask_more(const Setup& setup, Fetch& fetch, const net::PublicKey& source) {
  for (;;) {
    if (const auto blob = fetch.plan.claim(source)) {
      TROUPE_ASSIGN_OR_RETURN(auto writer, setup->store->begin_blob(*blob));
      const std::uint64_t have = writer->received();  // left by an interrupted transfer
      fetch.incoming[blob->sha256] = {std::move(writer), {}};
      if (fetch.plan.begin(blob->sha256, have)) commit(fetch, source, blob->sha256);
    }
    const auto ask = fetch.plan.next(source);
    if (!ask) return Status::ok();
    const Status sent = setup->link->send(source, MessageType::kFetchBlob,
                                          FetchBlob{ask->sha256, ask->offset, ask->length});
    // The connection is closing: a PeerEvent follows, and other sources get its blobs.
    if (!sent) return Status::ok();
  }
}

bool usable(const BulkShell& shell, const Fetch& fetch, const net::PublicKey& source) {
  return !fetch.lost.contains(source) && shell.serving.contains(source);
}

// Keeps every source of the front fetch busy; ends the fetch if it is complete or cannot complete.
void drive(Self self, const Setup& setup) {
  if (self->state.fetches.empty()) return;
  Fetch& fetch = self->state.fetches.front();
  std::vector<net::PublicKey> left;
  for (const net::PublicKey& source : fetch.request->sources) {
    if (fetch.lost.contains(source)) continue;
    left.push_back(source);
    if (!self->state.serving.contains(source)) continue;
    const Status asked = ask_more(setup, fetch, source);
    if (!asked) return finish(self, setup, asked.with_context("fetching the model's weights"));
  }
  if (fetch.plan.complete()) return finish(self, setup, Status::ok());
  if (!fetch.plan.hopeless(left)) return;
  finish(self, setup,
         fetch.trouble ? Status(Code::kUnavailable,
                                "no connected machine holds the model's weights any more; run "
                                "the command again with the model's file or name")
                       : fetch.trouble.with_context("fetching the model's weights"));
}

void start_next(Self self, const Setup& setup) {
  if (self->state.fetches.empty()) return;
  Fetch& fetch = self->state.fetches.front();
  fetch.turn_us = fetch.last_progress_us = monotonic_us();
  fetch.turn_bytes = fetch.bytes;
  fetch.plan = FetchPlan(fetch.request->background ? kBackgroundWindow : FetchPlan::kWindow);
  for (const model::BlobRef& blob : fetch.request->blobs) {
    if (!setup->store->has_blob(blob.sha256)) fetch.plan.add(blob);
  }
  drive(self, setup);
}

void add_fetch(Self self, const Setup& setup, const FetchPtr& request) {
  auto& fetches = self->state.fetches;
  auto place = fetches.end();
  if (!request->background) {
    place = std::find_if(fetches.begin(), fetches.end(),
                         [](const Fetch& fetch) { return fetch.request->background; });
  }
  const bool first = place == fetches.begin();
  if (first && !fetches.empty()) {
    // A background fetch lets the new one pass. What it has fetched so far stays on the disk.
    fetches.front().incoming.clear();
    fetches.front().plan = FetchPlan();
  }
  Fetch fetch;
  fetch.request = request;
  fetches.insert(place, std::move(fetch));
  tick_soon(self);
  if (first) start_next(self, setup);
}

// Called when a source of the front fetch is gone, or counts as gone.
void lose_for(Fetch& fetch, const net::PublicKey& source) {
  for (const std::string& sha256 : fetch.plan.lose(source)) fetch.incoming.erase(sha256);
  fetch.lost.insert(source);
}

void on_chunk(Self self, const Setup& setup, const net::InFrame& frame, const BlobChunk& chunk) {
  if (self->state.fetches.empty()) return;
  Fetch& fetch = self->state.fetches.front();
  // Ignore late chunks of an earlier attempt or fetch; a timeout notices chunks that were lost.
  const std::size_t bytes = frame.payload.data.size();
  if (!fetch.plan.expects(frame.peer, chunk.sha256, chunk.offset, bytes)) return;
  const Status taken = fetch.incoming.at(chunk.sha256).take(chunk.offset, frame.payload);
  if (!taken) return finish(self, setup, taken.with_context("fetching the model's weights"));
  fetch.bytes += bytes;
  if (!fetch.request->background) *setup->bytes_in += bytes;
  fetch.last_progress_us = fetch.heard_us[frame.peer] = monotonic_us();
  fetch.idle_us = 0;
  if (fetch.plan.on_chunk(frame.peer, chunk.sha256, chunk.offset)) {
    commit(fetch, frame.peer, chunk.sha256);
  }
  drive(self, setup);
}

void on_missing(Self self, const Setup& setup, const net::InFrame& frame,
                const BlobMissing& missing) {
  if (self->state.fetches.empty()) return;
  Fetch& fetch = self->state.fetches.front();
  if (fetch.plan.claimed(frame.peer, missing.sha256) == nullptr) return;
  fetch.plan.lacks(frame.peer, missing.sha256);
  fetch.incoming.erase(missing.sha256);
  drive(self, setup);
}

// Gives the next fetch its turn if the front one is too slow: a source that sends nothing, or a
// byte now and then, must not hold up what others load. The partial blobs of the slow fetch stay on
// the disk.
bool pass_turn(BulkShell& shell) {
  auto& fetches = shell.fetches;
  Fetch& fetch = fetches.front();
  const std::int64_t now = monotonic_us();
  const bool others = fetches.size() > 1 && !fetches[1].request->background;
  if (!others || fetch.request->background || now - fetch.turn_us < kTurnUs) return false;
  const std::uint64_t brought = fetch.bytes - fetch.turn_bytes;
  if (brought >= kTurnBytesMin) {
    fetch.turn_us = now;
    fetch.turn_bytes = fetch.bytes;
    return false;
  }
  fetch.idle_us = brought > 0 ? 0 : fetch.idle_us + (now - fetch.turn_us);
  Fetch slow = std::move(fetch);
  fetches.pop_front();
  slow.incoming.clear();
  slow.plan = FetchPlan();
  slow.lost.clear();
  const auto place = std::find_if(fetches.begin(), fetches.end(),
                                  [](const Fetch& one) { return one.request->background; });
  fetches.insert(place, std::move(slow));
  return true;
}

// Drops a source that is silent while another one could send instead.
void check_stalls(Self self, const Setup& setup) {
  if (self->state.fetches.empty()) return;
  Fetch& fetch = self->state.fetches.front();
  const std::int64_t now = monotonic_us();
  if (now - fetch.last_progress_us + fetch.idle_us > kPatienceUs) {
    return finish(self, setup,
                  Status(Code::kDeadlineExceeded,
                         "no part of the model's weights arrived for 10 s; check that the "
                         "machine that holds the model can reach this one"));
  }
  for (const net::PublicKey& source : fetch.request->sources) {
    if (!fetch.plan.busy(source)) {
      fetch.heard_us[source] = now;
      continue;
    }
    std::int64_t& heard = fetch.heard_us.emplace(source, now).first->second;
    const bool other = std::any_of(
        fetch.request->sources.begin(), fetch.request->sources.end(),
        [&](const auto& one) { return one != source && usable(self->state, fetch, one); });
    if (other && now - heard > kStallUs) lose_for(fetch, source);
  }
  if (pass_turn(self->state)) return start_next(self, setup);
  drive(self, setup);
}

void on_serving(Self self, const Setup& setup, const net::InFrame& frame, const Serving&) {
  self->state.serving.insert(frame.peer);
  drive(self, setup);
}

void on_frame(Self self, const Setup& setup, const net::InFrame& frame) {
  static const MessageHandlers<Self, const Setup&> kHandlers = {
      on<Serving>(on_serving), on<FetchBlob>(on_fetch_blob), on<BlobChunk>(on_chunk),
      on<BlobMissing>(on_missing)};
  kHandlers.handle(*setup->link, frame, self, setup);
}

void on_peer(Self self, const Setup& setup, const PeerEvent& event) {
  if (event.channel != net::Channel::kBulk) return;
  BulkShell& shell = self->state;
  if (event.kind == PeerEvent::Kind::kConnected) {
    shell.serving.insert(event.peer);  // we dialled this peer
  } else {
    // If only an attempt to reach the peer failed, further attempts follow.
    const bool served = shell.serving.erase(event.peer) != 0;
    if (served && !shell.fetches.empty()) lose_for(shell.fetches.front(), event.peer);
  }
  drive(self, setup);
}

bulk_actor::behavior_type bulk_behavior(Self self, Setup setup) {
  return {
      [self, setup](const FramePtr& frame) { on_frame(self, setup, *frame); },
      [self, setup](const PeerEventPtr& event) { on_peer(self, setup, *event); },
      [self, setup](const FetchPtr& request) { add_fetch(self, setup, request); },
      [self](const ExportPtr& exported) { export_file(self->state, *exported); },
      [self, setup](const GrantPtr& grant) {
        self->state.rights.grant(*grant);
        check_held(self->state, setup);
      },
      [self](halt_atom) { self->state.rights.forget_all(); },
      [self, setup](tick_atom) {
        check_stalls(self, setup);
        check_held(self->state, setup);
        self->state.ticking = !self->state.fetches.empty() || !self->state.held.empty();
        if (self->state.ticking) self->delayed_send(self, kTick, tick_atom::value);
      },
  };
}

}  // namespace

bulk_actor spawn_bulk(caf::actor_system& system, BulkSetup setup) {
  const Setup shared = std::make_shared<const BulkSetup>(std::move(setup));
  return shared->detached ? system.spawn<caf::detached>(bulk_behavior, shared)
                          : system.spawn(bulk_behavior, shared);
}

}  // namespace troupe::actors
