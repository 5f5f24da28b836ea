#include "model/joined_rows.h"

#include <cstring>

#include "model/parallel_tasks.h"

namespace elrea {

using torch::Tensor;

Tensor JoinRows(const std::vector<const Tensor*>& beginnings, const Tensor& own, const PackedBatch& whole) {
  if (!own.defined()) return {};
  std::vector<int64_t> shape = own.sizes().vec();
  shape[0] = whole.num_tokens();
  Tensor joined = torch::empty(shape, own.options());
  const Tensor rows = own.contiguous();
  const size_t row_bytes = joined.nbytes() / static_cast<size_t>(shape[0]);
  std::vector<int64_t> own_begin = {0};  // of each segment
  for (int64_t s = 0; s < whole.num_segments(); ++s) {
    own_begin.push_back(own_begin.back() + whole.length(s) - (beginnings[s] ? beginnings[s]->size(0) : 0));
  }
  ForEachTask(whole.num_segments(), [&](int64_t s) {
    char* to = static_cast<char*>(joined.data_ptr()) + static_cast<size_t>(whole.begin(s)) * row_bytes;
    if (beginnings[s]) {
      const Tensor before = beginnings[s]->contiguous();
      std::memcpy(to, before.data_ptr(), before.nbytes());
      to += before.nbytes();
    }
    const auto count = static_cast<size_t>(own_begin[s + 1] - own_begin[s]);
    std::memcpy(to, static_cast<const char*>(rows.data_ptr()) + static_cast<size_t>(own_begin[s]) * row_bytes,
                count * row_bytes);
  });
  return joined;
}

}  // namespace elrea
