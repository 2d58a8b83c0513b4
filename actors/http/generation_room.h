#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include <troupe/actors/http/exchange.h>
#include <troupe/actors/http/prepared_ask.h>
#include <troupe/actors/http/service.h>

// Decides whether more answers may begin. HTTP thread.

namespace troupe::http {

// Names a request, so that it is recognized when it is repeated.
std::uint64_t name_of_request(const std::string& key, const PreparedAsk& prepared);
// True if there is room for this number of further answers. If not, the exchange is told why, and
// when to repeat the request.
bool has_room(Service& service, const Exchange& exchange, std::size_t choices, std::uint64_t who);
// Called when an answer has ended, so that its place is free.
void note_end(Service& service);

}  // namespace troupe::http
