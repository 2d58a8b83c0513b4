#include <algorithm>

#include <troupe/actors/bulk.h>
#include <troupe/actors/engine.h>
#include <troupe/model/tensor_source.h>
#include <troupe/runtime/file.h>
#include <troupe/runtime/log.h>

namespace troupe::actors {
namespace {

constexpr std::chrono::milliseconds kTick{500};
constexpr std::int64_t kPatienceUs = 10'000'000;  // without a source, or without a chunk

// Where the bytes of a blob lie on this machine, and what keeps them there.
struct Place {
  std::shared_ptr<const void> keep;
  std::span<const std::byte> bytes;
};

struct Fetch {
  FetchPtr request;
  FetchPlan plan;
  std::unique_ptr<model::Store::BlobWriter> writer;  // of plan.current()
  std::optional<net::PublicKey> source;
  std::set<net::PublicKey> lost;
  std::uint64_t bytes = 0;
  std::int64_t last_progress_us = 0;
  bool said = false;  // that the source cannot be asked
};

struct BulkShell {
  std::map<std::string, Place> exported;
  std::set<net::PublicKey> serving;  // peers that can be asked: we reached them, or they said so
  std::deque<Fetch> fetches;         // the front one is under way
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

Result<Place> find_place(BulkShell& shell, const Setup& setup, const std::string& sha256) {
  const auto found = shell.exported.find(sha256);
  if (found != shell.exported.end()) return found->second;
  const bool well_formed =
      sha256.size() == 64 && sha256.find_first_not_of("0123456789abcdef") == std::string::npos;
  if (!well_formed || !setup->store || !setup->store->has_blob(sha256)) {
    return Status(Code::kNotFound, "blob " + sha256.substr(0, 64) + " is not here");
  }
  auto mapped = MappedFile::open(setup->store->blob_path(sha256));
  if (!mapped) return mapped.status();
  const auto file = std::make_shared<const MappedFile>(std::move(*mapped));
  const Place place{file, file->bytes()};
  shell.exported[sha256] = place;
  return place;
}

void serve(BulkShell& shell, const Setup& setup, const net::InFrame& frame) {
  const auto ask = decode_body<FetchBlob>(*setup->link, frame);
  if (!ask) return;
  auto place = find_place(shell, setup, ask->sha256);
  const bool inside = place && ask->offset <= place->bytes.size() &&
                      ask->length <= place->bytes.size() - ask->offset &&
                      ask->length <= FetchPlan::kChunkBytes;
  Status sent;
  if (!inside) {
    const BlobMissing missing{
        ask->sha256, place ? "the range asked for is outside of the blob" : place.message()};
    sent = setup->link->send(frame.peer, MessageType::kBlobMissing, missing);
  } else {
    const net::Payload payload{place->keep, place->bytes.subspan(ask->offset, ask->length)};
    sent = setup->link->send(frame.peer, MessageType::kBlobChunk,
                             BlobChunk{ask->sha256, ask->offset}, 0, 0, payload);
  }
  if (!sent) log(LogLevel::kWarning, "cannot send a part of a model: " + sent.message());
}

// ---- fetching --------------------------------------------------------------------------------

void start_next(Self self, const Setup& setup);

void finish(Self self, const Setup& setup, const Status& status) {
  Fetch fetch = std::move(self->state.fetches.front());
  self->state.fetches.pop_front();
  fetch.writer.reset();
  fetch.request->done(status, fetch.bytes);
  start_next(self, setup);
}

void ask_more(Self self, const Setup& setup) {
  Fetch& fetch = self->state.fetches.front();
  while (auto ask = fetch.plan.next()) {
    const Status sent = setup->link->send(*fetch.source, MessageType::kFetchBlob,
                                          FetchBlob{ask->sha256, ask->offset, ask->length});
    if (!sent) {
      // The connection is closing: PeerEvent follows and picks another source.
      if (!fetch.said) log(LogLevel::kWarning, "cannot ask for weights: " + sent.message());
      fetch.said = true;
      return;
    }
  }
}

// Picks a source for the front fetch when it has none and one is there.
void pick_source(Self self, const Setup& setup) {
  if (self->state.fetches.empty()) return;
  Fetch& fetch = self->state.fetches.front();
  if (fetch.source) return;
  bool any_left = false;
  for (const net::PublicKey& source : fetch.request->sources) {
    if (fetch.lost.contains(source)) continue;
    any_left = true;
    if (!self->state.serving.contains(source)) continue;
    fetch.source = source;
    fetch.last_progress_us = monotonic_us();
    fetch.said = false;
    fetch.writer.reset();
    fetch.plan.restart();
    ask_more(self, setup);
    return;
  }
  if (!any_left) {
    finish(self, setup,
           Status(Code::kUnavailable,
                  "nobody who is connected holds the model's weights any more; run the command "
                  "again with the model's file or name"));
  }
}

void start_next(Self self, const Setup& setup) {
  if (self->state.fetches.empty()) return;
  Fetch& fetch = self->state.fetches.front();
  fetch.last_progress_us = monotonic_us();
  for (const model::BlobRef& blob : fetch.request->blobs) {
    if (!setup->store->has_blob(blob.sha256)) fetch.plan.add(blob, 0);
  }
  if (fetch.plan.complete()) {
    finish(self, setup, Status::ok());
    return;
  }
  pick_source(self, setup);
}

Status take_chunk(Fetch& fetch, const Setup& setup, const BlobChunk& chunk,
                  std::span<const std::byte> bytes) {
  const model::BlobRef blob = fetch.plan.current();
  TROUPE_ASSIGN_OR_RETURN(const FetchPlan::Got got,
                          fetch.plan.on_chunk(chunk.sha256, chunk.offset, bytes.size()));
  if (!fetch.writer) {
    TROUPE_ASSIGN_OR_RETURN(fetch.writer, setup->store->begin_blob(blob));
  }
  // An earlier, cut transfer may have left a beginning; the same bytes again are skipped.
  const std::uint64_t have = fetch.writer->received();
  const std::uint64_t end = chunk.offset + bytes.size();
  if (end > have) {
    if (chunk.offset > have) {
      return Status(Code::kBadData, "a gap in blob " + blob.sha256);
    }
    TROUPE_RETURN_IF_ERROR(fetch.writer->append(bytes.subspan(have - chunk.offset)));
  }
  fetch.bytes += bytes.size();
  *setup->bytes_in += bytes.size();
  fetch.last_progress_us = monotonic_us();
  if (got.blob_complete) {
    TROUPE_RETURN_IF_ERROR(fetch.writer->commit());
    fetch.writer.reset();
  }
  return Status::ok();
}

void lose_source(Self self, const Setup& setup, const net::PublicKey& peer) {
  self->state.serving.erase(peer);
  for (Fetch& fetch : self->state.fetches) {
    if (fetch.source == peer) {
      fetch.source.reset();
      fetch.lost.insert(peer);
    }
  }
  pick_source(self, setup);
}

void on_chunk(Self self, const Setup& setup, const net::InFrame& frame) {
  const auto chunk = decode_body<BlobChunk>(*setup->link, frame);
  if (!chunk || self->state.fetches.empty()) return;
  Fetch& fetch = self->state.fetches.front();
  // Chunks of an earlier try or fetch, still on their way when it ended, are nothing to us; a chunk
  // that was lost is noticed by patience running out.
  if (fetch.source != frame.peer || fetch.plan.complete()) return;
  if (!fetch.plan.expects(chunk->sha256, chunk->offset, frame.payload.data.size())) return;
  const Status taken = take_chunk(fetch, setup, *chunk, frame.payload.data);
  if (!taken) {
    finish(self, setup, taken.with_context("fetching the model's weights"));
  } else if (fetch.plan.complete()) {
    finish(self, setup, Status::ok());
  } else {
    ask_more(self, setup);
  }
}

void on_frame(Self self, const Setup& setup, const net::InFrame& frame) {
  switch (static_cast<MessageType>(frame.header.type)) {
    case MessageType::kServing:
      self->state.serving.insert(frame.peer);
      pick_source(self, setup);
      break;
    case MessageType::kFetchBlob:
      serve(self->state, setup, frame);
      break;
    case MessageType::kBlobChunk:
      on_chunk(self, setup, frame);
      break;
    case MessageType::kBlobMissing:
      if (!self->state.fetches.empty() && self->state.fetches.front().source == frame.peer) {
        // It may serve others well; for this fetch it is no source.
        Fetch& fetch = self->state.fetches.front();
        fetch.source.reset();
        fetch.lost.insert(frame.peer);
        pick_source(self, setup);
      }
      break;
    default:
      break;
  }
}

bulk_actor::behavior_type bulk_behavior(Self self, Setup setup) {
  self->delayed_send(self, kTick, tick_atom::value);
  return {
      [self, setup](const FramePtr& frame) { on_frame(self, setup, *frame); },
      [self, setup](const PeerEventPtr& event) {
        if (event->channel != net::Channel::kBulk) return;
        if (event->kind == PeerEvent::Kind::kConnected) {
          self->state.serving.insert(event->peer);  // one that we dialled
          pick_source(self, setup);
        } else {
          lose_source(self, setup, event->peer);
        }
      },
      [self, setup](const FetchPtr& request) {
        Fetch fetch;
        fetch.request = request;
        self->state.fetches.push_back(std::move(fetch));
        if (self->state.fetches.size() == 1) start_next(self, setup);
      },
      [self](const ExportPtr& exported) { export_file(self->state, *exported); },
      [self, setup](tick_atom) {
        if (!self->state.fetches.empty()) {
          Fetch& fetch = self->state.fetches.front();
          if (monotonic_us() - fetch.last_progress_us > kPatienceUs) {
            finish(self, setup,
                   Status(Code::kDeadlineExceeded,
                          "no part of the model's weights arrived for 10 s; check that the "
                          "machine that holds the model can reach this one"));
          }
        }
        self->delayed_send(self, kTick, tick_atom::value);
      },
  };
}

}  // namespace

bulk_actor spawn_bulk(caf::actor_system& system, BulkSetup setup) {
  return system.spawn<caf::detached>(bulk_behavior,
                                     std::make_shared<const BulkSetup>(std::move(setup)));
}

}  // namespace troupe::actors
