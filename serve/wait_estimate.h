// How long a request that comes now would wait for those before it, from what the server did of late.
#pragma once

#include <cmath>
#include <cstdint>

namespace elrea {

class WaitEstimate {
 public:
  // One round of the server in which requests ran.
  void AddRound(double tokens, double seconds) {
    const double kept = std::exp(-seconds / kMemory_s);
    tokens_ = kept * tokens_ + tokens;
    seconds_ = kept * seconds_ + seconds;
  }
  // A request that was answered whole.
  void AddJob(double tokens) { tokens_per_job_ = 0.95 * tokens_per_job_ + 0.05 * tokens; }

  // 0 while too little is known: the first rounds after an idle time mostly read prompts, and say nothing of the speed.
  double Seconds(int64_t jobs_before) const {
    if (seconds_ < kMemory_s / 2 || tokens_ <= 0) return 0;
    return static_cast<double>(jobs_before) * tokens_per_job_ * seconds_ / tokens_;
  }

 private:
  static constexpr double kMemory_s = 10;  // a round this long ago counts 1/e

  double tokens_ = 0, seconds_ = 0;  // of rounds, older ones counting less
  double tokens_per_job_ = 64;       // of late
};

}  // namespace elrea
