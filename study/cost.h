// Costs that stand beside results: seconds of work on rows that may have been stopped and gone on with.
#pragma once

#include <chrono>
#include <cstdint>

namespace elrea {

// Seconds since it was made.
class Stopwatch {
 public:
  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - begun_).count(); }

 private:
  std::chrono::steady_clock::time_point begun_ = std::chrono::steady_clock::now();
};

// Of all `total` rows at the speed of the `done` ones that took `seconds`: those that earlier sessions did are reckoned as
// these. 0 where none was done.
inline double SecondsOfAll(double seconds, int64_t done, int64_t total) {
  return done > 0 ? seconds * static_cast<double>(total) / static_cast<double>(done) : 0;
}

}  // namespace elrea
