#pragma once

#include <troupe/actors/http/generation_ask.h>
#include <troupe/actors/http/service.h>

// What the two generating endpoints share: they prepare in the pool, and then begin on the HTTP
// thread.

namespace troupe::http {

void generate(Service& service, const ExchangePtr& exchange, AskKind kind);

}  // namespace troupe::http
