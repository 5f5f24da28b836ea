#include "train/group_options.h"

#include <algorithm>

#include "train/batches.h"

namespace elrea {

std::vector<FinetuneOptions> OptionsOfGroups(const FinetuneOptions& options, bool equal_steps,
                                             const std::vector<std::vector<int64_t>>& groups, int64_t all_rows) {
  std::vector<FinetuneOptions> each;
  for (const std::vector<int64_t>& group : groups) {
    FinetuneOptions& own = each.emplace_back(options);
    if (equal_steps) own.batch_size = BatchForEqualSteps(options.batch_size, std::ssize(group), all_rows);
    own.seed += 1 + std::ranges::count_if(groups, [&](const auto& other) { return other.front() < group.front(); });
  }
  return each;
}

}  // namespace elrea
