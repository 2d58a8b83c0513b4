#include <troupe/actors/http/endpoints.h>
#include <troupe/actors/http/generate.h>

namespace troupe::http {

void create_chat_completion(Service& service, const ExchangePtr& exchange) {
  generate(service, exchange, AskKind::kChat);
}

}  // namespace troupe::http
