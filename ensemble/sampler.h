// The next token from mixed logits: greedy, or temperature with top-k, top-p and min-p; biases and penalties of
// single tokens.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/options.h"

namespace elrea {

struct SamplingOptions {
  int64_t max_new_tokens = 256;
  double temperature = 0;
  int64_t top_k = 0;
  double top_p = 1;
  double min_p = 0;
  double presence_penalty = 0;
  double frequency_penalty = 0;
  int64_t seed = 0;
  std::vector<std::string> stop = {};
};
template <typename Visitor>
void VisitOptions(SamplingOptions& o, Visitor& v) {
  v.Field("max_new_tokens", o.max_new_tokens, "generation ends after this many tokens", AtLeast(1));
  v.Field("temperature", o.temperature, "0 = greedy; higher is more random", AtLeast(0));
  v.Field("top_k", o.top_k, "sample among the k likeliest tokens; 0 = all", AtLeast(0));
  v.Field("top_p", o.top_p, "sample among the likeliest tokens that hold this share of the probability", Between(0, 1));
  v.Field("min_p", o.min_p, "sample among tokens at least this likely, as a share of the likeliest", Between(0, 1));
  v.Field("presence_penalty", o.presence_penalty, "taken from the logit of every token generated already",
          Between(-2, 2));
  v.Field("frequency_penalty", o.frequency_penalty, "the same, times how often it was generated", Between(-2, 2));
  v.Field("seed", o.seed, "equal seed, prompt and options give equal text", AtLeast(0));
  v.Field("stop", o.stop, "generation ends before the first of these strings");
}

struct SampledToken {
  int32_t token = 0;
  float log_prob = 0;  // natural log under softmax(logits), before biases, penalties and temperature
};

// What is added to the logits of single tokens before a draw. It grows with the text: single-thread.
class TokenBias {
 public:
  TokenBias() = default;
  // `fixed`: (token id, amount), each token once at most.
  TokenBias(const SamplingOptions& options, const std::vector<std::pair<int32_t, float>>& fixed)
      : presence_(static_cast<float>(options.presence_penalty)),
        frequency_(static_cast<float>(options.frequency_penalty)),
        amounts_(fixed.begin(), fixed.end()) {}

  // A token was generated.
  void Count(int32_t token);
  bool empty() const { return amounts_.empty(); }
  const std::map<int32_t, float>& amounts() const { return amounts_; }

 private:
  float presence_ = 0, frequency_ = 0;
  std::map<int32_t, float> amounts_;
  std::map<int32_t, int64_t> counts_;
};

// logits [vocab] f32. Ties go to the lowest id. The draw depends on (options.seed, stream, step) only.
SampledToken SampleToken(std::span<const float> logits, const SamplingOptions& options, uint64_t stream, uint64_t step,
                         const TokenBias& bias = {});

// The `count` likeliest tokens (all, when there are fewer), likeliest first, of equals the lowest id.
std::vector<SampledToken> LikeliestTokens(std::span<const float> logits, int64_t count);

}  // namespace elrea
