#include "serve/metrics.h"

#include <prometheus/text_serializer.h>

namespace elrea {
namespace {

const std::vector<double> kSeconds = {0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300};
const std::vector<double> kShortSeconds = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5};

}  // namespace

prometheus::Counter& Metrics::Counter(const char* name, const char* help) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(registry_).Add({});
}
prometheus::Gauge& Metrics::Gauge(const char* name, const char* help) {
  return prometheus::BuildGauge().Name(name).Help(help).Register(registry_).Add({});
}
prometheus::Histogram& Metrics::Histogram(const char* name, const char* help, const std::vector<double>& bounds) {
  return prometheus::BuildHistogram().Name(name).Help(help).Register(registry_).Add({}, bounds);
}

Metrics::Metrics()
    : requests_(prometheus::BuildCounter()
                    .Name("elrea_requests_total")
                    .Help("finished requests by route and status")
                    .Register(registry_)),
      prompt_tokens(Counter("elrea_prompt_tokens_total", "tokens of prompts")),
      reused_prompt_tokens(Counter("elrea_prompt_tokens_reused_total", "of these, found in the prompt cache")),
      generated_tokens(Counter("elrea_generated_tokens_total", "tokens generated")),
      router_hits(Counter("elrea_router_cache_hits_total", "prompts whose feature was known")),
      router_misses(Counter("elrea_router_cache_misses_total", "prompts whose gradient was taken")),
      rejected(Counter("elrea_rejected_total", "requests answered 429 because the queue was full or too slow")),
      disconnected(Counter("elrea_disconnected_total", "requests whose client went away")),
      expired(Counter("elrea_expired_total", "requests that reached their deadline")),
      shed(Counter("elrea_shed_total", "requests answered by fewer experts because of the load")),
      waiting(Gauge("elrea_waiting_requests", "choices that wait for room")),
      active(Gauge("elrea_active_requests", "choices that are being generated")),
      rows(Gauge("elrea_active_rows", "members of all active choices")),
      kv_bytes(Gauge("elrea_kv_bytes", "memory promised to keys and values of active choices")),
      prefix_bytes(Gauge("elrea_prompt_cache_bytes", "memory of the prompt cache")),
      router_bytes(Gauge("elrea_router_cache_bytes", "memory of the features that are kept by prompt")),
      connections(Gauge("elrea_connections", "open connections")),
      first_token_s(Histogram("elrea_first_token_seconds", "from a request to its first token", kSeconds)),
      request_s(Histogram("elrea_request_seconds", "from a request to its last token", kSeconds)),
      step_s(Histogram("elrea_step_seconds", "one round of decoding, prompts included", kShortSeconds)),
      routing_s(Histogram("elrea_routing_seconds", "one batch of gradients", kShortSeconds)) {}

void Metrics::CountRequest(const std::string& route, int status) {
  requests_.Add({{"route", route}, {"status", std::to_string(status)}}).Increment();
}

std::string Metrics::Text() const { return prometheus::TextSerializer().Serialize(registry_.Collect()); }

}  // namespace elrea
