// A parallel loop over tasks of unequal size: each thread takes the next one when it is free. Which thread runs a task
// must not matter to its result.
#pragma once

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace elrea {

// task(i) for all i in [0, num_tasks), without autograd.
template <typename Task>
void ForEachTask(int64_t num_tasks, Task task) {
  std::atomic<int64_t> next = 0;
  auto run = [&](int64_t, int64_t) {
    at::NoGradGuard no_grad;
    for (int64_t i = next++; i < num_tasks; i = next++) task(i);
  };
  const int64_t workers = std::min<int64_t>(num_tasks, at::get_num_threads());
  if (workers > 1) {
    at::parallel_for(0, workers, 1, run);
  } else {
    run(0, 1);
  }
}

}  // namespace elrea
