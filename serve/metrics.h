// What the server counts, for GET /metrics (Prometheus' text format).
#pragma once

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <string>

namespace elrea {

// Thread-safe.
class Metrics {
 public:
  Metrics();
  // One finished request: `route` is a path of the API, never one that a client made up.
  void CountRequest(const std::string& route, int status);
  std::string Text() const;

 private:
  prometheus::Registry registry_;
  prometheus::Family<prometheus::Counter>& requests_;

  prometheus::Counter& Counter(const char* name, const char* help);
  prometheus::Gauge& Gauge(const char* name, const char* help);
  prometheus::Histogram& Histogram(const char* name, const char* help, const std::vector<double>& bounds);

 public:
  prometheus::Counter &prompt_tokens, &reused_prompt_tokens, &generated_tokens;
  prometheus::Counter &router_hits, &router_misses, &rejected, &disconnected, &expired, &shed;
  prometheus::Gauge &waiting, &active, &rows, &kv_bytes, &prefix_bytes, &router_bytes, &connections;
  prometheus::Histogram &first_token_s, &request_s, &step_s, &routing_s;
};

}  // namespace elrea
