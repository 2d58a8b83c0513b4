#pragma once

#include <cstddef>

#include <troupe/actors/http/exchange.h>
#include <troupe/actors/http/service.h>

// Whether more answers may begin. HTTP thread.

namespace troupe::http {

// Whether there is room for that many more answers; if not, the exchange is told why.
bool has_room(Service& service, const Exchange& exchange, std::size_t choices);
// An answer has ended: its place is free.
void note_end(Service& service);

}  // namespace troupe::http
