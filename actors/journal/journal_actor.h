#pragma once

#include <memory>
#include <string>

#include <troupe/actors/actors.h>
#include <troupe/actors/journal/journal.h>

// What goes into a head's journal beside jobs, without anybody waiting for the disk: the models
// that are placed, and open streams. A stream's request is in the journal before its first token is
// told to anybody, its tokens follow in batches: by the lane rule prompt, parameters and seed give
// the same answer again, so that tokens that are missing cost time and nothing else.

namespace troupe::actors {

// Runs what it is given, one after the other; what fails is logged.
journal_actor spawn_journal(caf::actor_system& system, std::shared_ptr<Journal> journal);

// Stands between an engine and the sink of a request that can be resumed: holds its events back
// until the request is in the journal, writes the tokens after it, and forgets it with its end.
// Ends with the sink; what was open then stays in the journal.
token_sink spawn_stream(caf::actor_system& system, journal_actor journal, StreamRecord record,
                        token_sink sink);

}  // namespace troupe::actors
