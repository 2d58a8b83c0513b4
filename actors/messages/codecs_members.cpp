#include <troupe/actors/messages/bulk.h>
#include <troupe/actors/messages/deploy.h>
#include <troupe/actors/messages/measure.h>
#include <troupe/actors/messages/membership.h>
#include <troupe/model/store/manifest.h>
#include <troupe/runtime/wire/codec.h>

// The encoded form of the messages of members: who joins, what they load, hold, measure and fetch.

namespace troupe::wire {

TROUPE_MESSAGE(actors::Serving)
TROUPE_MESSAGE(actors::FetchBlob)
TROUPE_MESSAGE(actors::BlobChunk)
TROUPE_MESSAGE(actors::BlobMissing)
TROUPE_MESSAGE(actors::AllowPeers)
TROUPE_MESSAGE(actors::PeersAllowed)
TROUPE_MESSAGE(actors::ForgetPeers)
TROUPE_MESSAGE(actors::ServePeers)
TROUPE_MESSAGE(actors::LoadStage)
TROUPE_MESSAGE(actors::Prefetch)
TROUPE_MESSAGE(actors::Prefetched)
TROUPE_MESSAGE(actors::StageLoaded)
TROUPE_MESSAGE(actors::StageFailed)
TROUPE_MESSAGE(actors::UnloadStage)
TROUPE_MESSAGE(actors::Measure)
TROUPE_MESSAGE(actors::Measured)
TROUPE_MESSAGE(actors::Probe)
TROUPE_MESSAGE(actors::ProbeAnswer)
TROUPE_MESSAGE(actors::PlanModel)
TROUPE_MESSAGE(actors::Enrol)
TROUPE_MESSAGE(actors::Enrolled)
TROUPE_MESSAGE(actors::Hello)
TROUPE_MESSAGE(actors::Welcome)
TROUPE_MESSAGE(actors::Refused)
TROUPE_MESSAGE(actors::Heartbeat)
TROUPE_MESSAGE(actors::HeartbeatAck)
TROUPE_MESSAGE(actors::Leave)
TROUPE_MESSAGE(actors::StopDaemon)
TROUPE_MESSAGE(model::Manifest)

}  // namespace troupe::wire
