#pragma once

#include <troupe/runtime/status.h>
#include <troupe/tools/troupe/fetch/sources.h>

// Some models may only be used under terms that their makers want accepted (Gemma's). Main thread
// only.

namespace troupe::tools {

// If `source` asks for consent, shows its terms and asks whether they are accepted: with `accepted`
// they are, else whoever sits at the terminal says so. Nothing is remembered, because a model that
// is in the store is not fetched again.
//   Errors: kFailedPrecondition if the answer is no, or if stdin is no terminal, so that nobody can
//   be asked.
Status ask_consent(const Source& source, bool accepted);

}  // namespace troupe::tools
