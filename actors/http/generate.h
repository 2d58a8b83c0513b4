#pragma once

#include <troupe/actors/http/generation_ask.h>
#include <troupe/actors/http/service.h>

// What the two generating endpoints do: prepare in the pool, then begin on the HTTP thread.

namespace troupe::http {

void generate(Service& service, const ExchangePtr& exchange, AskKind kind);

}  // namespace troupe::http
