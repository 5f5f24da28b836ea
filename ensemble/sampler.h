// The next token from mixed logits: greedy, or temperature with top-k and top-p.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/options.h"

namespace elrea {

struct SamplingOptions {
  int64_t max_new_tokens = 256;
  double temperature = 0;
  int64_t top_k = 0;
  double top_p = 1;
  int64_t seed = 0;
  std::vector<std::string> stop = {};
};
template <typename Visitor>
void VisitOptions(SamplingOptions& o, Visitor& v) {
  v.Field("max_new_tokens", o.max_new_tokens, "generation ends after this many tokens", AtLeast(1));
  v.Field("temperature", o.temperature, "0 = greedy; higher is more random", AtLeast(0));
  v.Field("top_k", o.top_k, "sample among the k likeliest tokens; 0 = all", AtLeast(0));
  v.Field("top_p", o.top_p, "sample among the likeliest tokens that hold this share of the probability", Between(0, 1));
  v.Field("seed", o.seed, "equal seed, prompt and options give equal text", AtLeast(0));
  v.Field("stop", o.stop, "generation ends before the first of these strings");
}

struct SampledToken {
  int32_t token = 0;
  float log_prob = 0;  // natural log under softmax(logits), before temperature
};

// logits [vocab] f32. Ties go to the lowest id. The draw depends on (options.seed, stream, step) only.
SampledToken SampleToken(std::span<const float> logits, const SamplingOptions& options, uint64_t stream, uint64_t step);

}  // namespace elrea
