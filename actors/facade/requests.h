#pragma once

#include <memory>

#include <troupe/actors/actors.h>
#include <troupe/actors/troupe.h>

// Translates the public request into mail, and mail into the public result. Pure.

namespace troupe::actors {

// Checks what can be checked without the model.
//   Errors: kInvalidArgument (max_tokens < 1, bad sampling, a prompt of more than 15 MiB).
Status check_request(const GenerateRequest& request);
// Makes the mail, with a fresh request id and the deadline filled in.
std::shared_ptr<Submit> make_submit(const GenerateRequest& request, std::uint64_t deployment);
// Makes the public result. A failure before the first token becomes a Status; a later one becomes a
// result that says so.
Result<GenerateResult> make_result(const Finished& finished, const ModelReady& ready);

}  // namespace troupe::actors
