#pragma once

#include <troupe/actors/http/exchange.h>

// The endpoints. Each has one file in endpoints/ and one row in the route table.

namespace troupe::http {

struct Service;

void get_root(Service& service, const ExchangePtr& exchange);
void get_health(Service& service, const ExchangePtr& exchange);
void get_ready(Service& service, const ExchangePtr& exchange);
void get_version(Service& service, const ExchangePtr& exchange);
void list_models(Service& service, const ExchangePtr& exchange);
void get_model(Service& service, const ExchangePtr& exchange);
void create_chat_completion(Service& service, const ExchangePtr& exchange);
void create_completion(Service& service, const ExchangePtr& exchange);
void render_chat_prompt(Service& service, const ExchangePtr& exchange);
void tokenize_text(Service& service, const ExchangePtr& exchange);
void detokenize_ids(Service& service, const ExchangePtr& exchange);
void get_stream(Service& service, const ExchangePtr& exchange);
void get_openapi(Service& service, const ExchangePtr& exchange);
void get_metrics(Service& service, const ExchangePtr& exchange);

}  // namespace troupe::http
