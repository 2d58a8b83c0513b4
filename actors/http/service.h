#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include <troupe/actors/http/api_error.h>
#include <troupe/actors/http/cluster_watch.h>
#include <troupe/actors/http/exchange.h>
#include <troupe/actors/http/gateway.h>
#include <troupe/actors/http/metrics.h>
#include <troupe/actors/http/promised_places.h>
#include <troupe/actors/http/rate_limit.h>
#include <troupe/actors/http/served_models.h>
#include <troupe/actors/http/stream_keeper.h>
#include <troupe/actors/http/work_pool.h>
#include <troupe/actors/troupe/serve.h>

// What the endpoints share. Used on the HTTP thread, unless a comment says otherwise.

namespace troupe::http {

class Generation;  // generation.h

struct Service {
  ServeOptions options;
  ServedModels models;       // any thread
  WorkPool* pool = nullptr;  // any thread
  Gateway* gateway = nullptr;
  // Runs `work` on the HTTP thread. Any thread may call.
  std::function<void(std::function<void()> work)> post;
  // Runs `work` on the HTTP thread after a time.
  std::function<void(int delay_ms, std::function<void()> work)> after;
  ClusterWatch* watch = nullptr;  // any thread
  Metrics metrics;
  RateLimits limits;
  // Answers under way, by the gateway's number.
  std::map<std::uint64_t, std::shared_ptr<Generation>> answers;
  std::map<std::string, std::size_t> answers_of_key;
  // Streams that may be taken up (streams.h), by their ids, and the object that writes them to
  // their file.
  std::map<std::string, std::shared_ptr<Generation>> streams;
  StreamKeeper* keeper = nullptr;
  // Returns the name of a key together with its hash, because a name may get another key.
  std::function<std::string(const std::string& key)> owner_of;
  // For Retry-After: when the last answer ended, and the usual time between two ends.
  std::int64_t answer_ended_us = 0;
  double between_answers_s = 1;
  PromisedPlaces promises;
  bool loading = true, draining = false;
};

// Forgets a stream. One that is not in the map has been forgotten already.
void forget_stream(Service& service, const std::string& id);

// Says in a sentence why no answer can be had now; "" if the server is ready.
std::string why_not_ready(const Service& service);

// Runs `work` in the pool and answers with its result: an error, or the response that it fills in.
void answer_in_pool(Service& service, const ExchangePtr& exchange,
                    std::function<std::optional<ApiError>(Response*)> work);

// Hands `work` to the pool, or answers that the server is busy. `work` runs on a thread of the
// pool, must not touch the service's maps, and returns what is to be done on the HTTP thread after
// it.
void run_in_pool(Service& service, const ExchangePtr& exchange,
                 std::function<std::function<void()>()> work);

}  // namespace troupe::http
