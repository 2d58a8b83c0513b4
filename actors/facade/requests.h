#pragma once

#include <memory>

#include <troupe/actors/actors.h>
#include <troupe/actors/troupe.h>

// The public request and result as mail, and back. Pure.

namespace troupe::actors {

// Checks what needs no model.
//   Errors: kInvalidArgument (max_tokens < 1, bad sampling, a prompt of more than 15 MiB).
Status check_request(const GenerateRequest& request);
// With a fresh request id and the deadline filled in.
std::shared_ptr<Submit> make_submit(const GenerateRequest& request, std::uint64_t deployment);
// An error before the first token is a Status, one after it a result that says so.
Result<GenerateResult> make_result(const Finished& finished, const ModelReady& ready);

}  // namespace troupe::actors
