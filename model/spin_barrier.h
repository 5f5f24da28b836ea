// A barrier for threads that meet every few microseconds: waiting costs no system call. A thread that waits
// for tens of microseconds gives its core away: either there are more threads than cores, or another process
// has the core of the one waited for, and spinning on would keep it from running here (one step then took a
// second, not 36 ms).
#pragma once

#include <atomic>
#include <thread>

namespace elrea {

class SpinBarrier {
 public:
  // Returns when `num_threads` threads have called it; what they wrote before is then visible to all.
  void Wait(int num_threads) {
    const int round = round_.load(std::memory_order_relaxed);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == num_threads) {
      arrived_.store(0, std::memory_order_relaxed);
      round_.store(round + 1, std::memory_order_release);
      return;
    }
    for (int spins = 0; round_.load(std::memory_order_acquire) == round; ++spins) {
      if (spins >= kSpins) std::this_thread::yield();
#if defined(__x86_64__)
      __builtin_ia32_pause();
#endif
    }
  }

 private:
  static constexpr int kSpins = 2000;  // about 25 us
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<int> round_{0};
};

}  // namespace elrea
