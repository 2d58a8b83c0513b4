#include <troupe/actors/messages/jobs.h>
#include <troupe/actors/messages/manage.h>
#include <troupe/actors/messages/requests.h>
#include <troupe/actors/messages/step.h>
#include <troupe/runtime/wire/codec.h>

// The encoded form of the messages of work: what is asked for, steps and jobs.

namespace troupe::wire {

TROUPE_MESSAGE(actors::JobAsk)
TROUPE_MESSAGE(actors::JobReply)
TROUPE_MESSAGE(actors::OpenStream)
TROUPE_MESSAGE(actors::JobKinds)
TROUPE_MESSAGE(actors::JobTaskOrder)
TROUPE_MESSAGE(actors::JobTaskDone)
TROUPE_MESSAGE(actors::Manage)
TROUPE_MESSAGE(actors::Managed)
TROUPE_MESSAGE(actors::OpenModel)
TROUPE_MESSAGE(actors::ModelReady)
TROUPE_MESSAGE(actors::Submit)
TROUPE_MESSAGE(actors::Cancel)
TROUPE_MESSAGE(actors::Tokens)
TROUPE_MESSAGE(actors::Finished)
TROUPE_MESSAGE(actors::StatusQuery)
TROUPE_MESSAGE(actors::StatusReply)
TROUPE_MESSAGE(actors::Step)
TROUPE_MESSAGE(actors::StepDone)
TROUPE_MESSAGE(actors::StepFailed)

}  // namespace troupe::wire
