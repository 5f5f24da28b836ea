#include "features/shared_beginning.h"

#include <algorithm>

namespace elrea {

std::span<const int32_t> CommonBeginning(const std::vector<std::span<const int32_t>>& rows) {
  if (rows.empty()) return {};
  std::span<const int32_t> common = rows[0];
  for (const auto& row : rows) {
    const auto end = std::mismatch(common.begin(), common.end(), row.begin(), row.end()).first;
    common = common.first(static_cast<size_t>(end - common.begin()));
  }
  return common;
}

SharedBeginning::SharedBeginning(const Decoder& decoder, const LoraWeights& lora, std::span<const int32_t> common,
                                 int64_t first_layer)
    : common_(common.begin(), common.end()),
      cache_(decoder.config(), decoder.dtype(), decoder.device(), std::ssize(common) - 1),
      delta_({&lora}, GradientSink()) {
  PackedBatch batch = PackRows({std::span(common_).first(common_.size() - 1)});
  batch.caches = {&cache_};
  tape_.first_layer = first_layer;
  const torch::Tensor residual = decoder.Forward(batch, &delta_, &tape_);
  const std::vector<int64_t> next(common_.begin() + 1, common_.end());
  const int64_t length = batch.num_tokens();
  decoder.LossAndGradient(residual, {torch::arange(length), torch::tensor(next), torch::ones({length})}, grad_residual_,
                          VocabularyGradient::kLikely);
}

bool SharedBeginning::Begins(std::span<const int32_t> row) const {
  return row.size() > common_.size() && std::equal(common_.begin(), common_.end(), row.begin());
}

}  // namespace elrea
