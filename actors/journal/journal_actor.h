#pragma once

#include <memory>
#include <string>

#include <troupe/actors/actors.h>
#include <troupe/actors/journal/journal.h>

// What goes into a head's journal besides jobs, without making a client wait for the disk: the
// models that are placed, and open streams. A stream's request is in the journal before its first
// token is sent, and its tokens follow in batches: the news of all streams are one transaction, at
// most five a second, and streams that begin are written at once, with all that have begun
// meanwhile. By the lane rule, prompt, parameters and seed give the same answer again, so that
// missing tokens cost only the time to compute them.

namespace troupe::actors {

// Runs the calls that it is given, one after the other, and writes what happens to streams.
// Failures are logged. Once a minute it removes from the disk what is left of deleted rows.
journal_actor spawn_journal(caf::actor_system& system, std::shared_ptr<Journal> journal);

// Stands between an engine and the sink of a request that can be resumed. Holds the request's
// events back until the request is in the journal, then writes the tokens, and deletes the stream
// when it ends. Ends with the sink; a stream that is open at that time stays in the journal.
// `journal` is what spawn_journal() returned.
token_sink spawn_stream(caf::actor_system& system, const journal_actor& journal,
                        StreamRecord record, token_sink sink);

}  // namespace troupe::actors
