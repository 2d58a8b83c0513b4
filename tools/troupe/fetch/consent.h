#pragma once

#include <troupe/runtime/status.h>
#include <troupe/tools/troupe/fetch/sources.h>

// Asks for consent: some models may only be used under terms that must be accepted (Gemma's). Main
// thread only.

namespace troupe::tools {

// If `source` asks for consent, shows its terms. They are accepted if `accepted` is set, or if the
// person at the terminal says so. Nothing is remembered, because a model that is in the store is
// not fetched again.
//   Errors: kFailedPrecondition if the answer is no, or if stdin is not a terminal, so that nobody
//   can be asked.
Status ask_consent(const Source& source, bool accepted);

}  // namespace troupe::tools
