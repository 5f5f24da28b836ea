#include "model/likely_columns.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>

#include "model/padded_rows.h"
#include "model/simd.h"

namespace elrea {

using c10::BFloat16;
using torch::Tensor;

namespace {

// Above this share of the vocabulary, gathering costs what it saves.
constexpr double kWorthwhileShare = 0.7;
// The library makes a program for each shape of product, so widths come in steps.
constexpr int64_t kNumWidths = 32;

// The first rows * width elements of `buffer`, which grows when it must.
Tensor Sized(Tensor& buffer, int64_t rows, int64_t width) {
  if (!buffer.defined() || buffer.numel() < rows * width) buffer = torch::empty({rows * width}, torch::kBFloat16);
  return buffer.narrow(0, 0, rows * width).view({rows, width});
}

// REQUIRES: n % 16 == 0.
float SumOf(const BFloat16* values, int64_t n) {
  simd::Vec sum = {};
  for (int64_t i = 0; i < n; i += simd::kLanes) sum += simd::Load(values + i);
  return simd::Sum(sum);
}

// [cols] of [rows, cols], as a product, which takes a tenth of the time of at::mean.
Tensor MeanRow(const Tensor& matrix) {
  return at::mm(torch::ones({1, matrix.size(0)}, matrix.options()), matrix).squeeze(0).div_(matrix.size(0));
}

}  // namespace

LikelyColumns::LikelyColumns(const Tensor& head) : head_(head), mean_(MeanRow(head)), top_(head.size(0)) {}

void LikelyColumns::Begin() { std::fill(top_.begin(), top_.end(), 0.0f); }

void LikelyColumns::Merge(std::span<const float> top) {
  const std::lock_guard lock(mutex_);
  for (size_t i = 0; i < top_.size(); ++i) top_[i] = std::max(top_[i], top[i]);
}

// Some unlikely ones among them, so that one less than a multiple of the step is kept where so many are there.
std::vector<int64_t> LikelyColumns::Kept(const Tensor& targets) const {
  const auto vocab = static_cast<int64_t>(top_.size());
  std::vector<bool> keep(vocab);
  for (int64_t i = 0; i < vocab; ++i) keep[i] = top_[i] >= kNegligibleProbability;
  for (int64_t i = 0; i < targets.size(0); ++i) keep[targets.data_ptr<int64_t>()[i]] = true;
  const int64_t step = std::max<int64_t>(1, vocab / kNumWidths), likely = std::count(keep.begin(), keep.end(), true);
  int64_t more = (likely + step) / step * step - 1 - likely;
  std::vector<int64_t> kept;
  for (int64_t i = 0; i < vocab; ++i) {
    if (keep[i] || more-- > 0) kept.push_back(i);
  }
  return kept;
}

void LikelyColumns::GatherColumns(const Tensor& logit_grad, const std::vector<int64_t>& kept, Tensor& columns) const {
  const int64_t vocab = logit_grad.size(1), width = columns.size(1);
  at::parallel_for(0, logit_grad.size(0), 1, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const BFloat16* from = logit_grad.data_ptr<BFloat16>() + r * vocab;
      BFloat16* to = columns.data_ptr<BFloat16>() + r * width;
      float sum = 0;
      for (int64_t j = 0; j + 1 < width; ++j) {
        to[j] = from[kept[j]];
        sum += static_cast<float>(to[j]);
      }
      to[width - 1] = static_cast<BFloat16>(SumOf(from, vocab) - sum);
    }
  });
}

void LikelyColumns::GatherRows(const std::vector<int64_t>& kept, Tensor& rows) const {
  const int64_t dim = head_.size(1);
  at::parallel_for(0, rows.size(0) - 1, 64, [&](int64_t begin, int64_t end) {
    for (int64_t j = begin; j < end; ++j) {
      const BFloat16* from = head_.data_ptr<BFloat16>() + kept[j] * dim;
      std::copy(from, from + dim, rows.data_ptr<BFloat16>() + j * dim);
    }
  });
  rows.select(0, rows.size(0) - 1).copy_(mean_);
}

void LikelyColumns::Multiply(const Tensor& logit_grad, const Tensor& targets, Tensor& grad) {
  const std::vector<int64_t> kept = Kept(targets);
  const auto width = static_cast<int64_t>(kept.size()) + 1;
  if (static_cast<double>(width) > kWorthwhileShare * static_cast<double>(top_.size())) {
    grad.copy_(MultiplyRows(logit_grad, head_));
    return;
  }
  Tensor columns = Sized(columns_, logit_grad.size(0), width), rows = Sized(rows_, width, head_.size(1));
  GatherColumns(logit_grad, kept, columns);
  GatherRows(kept, rows);
  grad.copy_(MultiplyRows(columns, rows));
}

}  // namespace elrea
