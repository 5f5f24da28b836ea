#include "features/segment_gradients.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <vector>

#include "model/bf16_products.h"
#include "model/turned_product.h"

namespace elrea {

using c10::BFloat16;
using torch::Tensor;

bool SegmentGradients::CanUseBf16(const SegmentRows& rows) const {
  const auto whole = [](int64_t width) { return width % 16 == 0; };
  return HasBf16Products() && rows.x.scalar_type() == torch::kBFloat16 && whole(rows.x.size(1)) &&
         std::all_of(group_.slots.begin(), group_.slots.end(),
                     [&](const AdapterLayout::Slot& slot) { return whole(slot.out) && whole(slot.out_first); }) &&
         whole(rows.grad_y.size(1));
}

void SegmentGradients::Emit(const SegmentRows& rows, const Sink& sink) const {
  CanUseBf16(rows) ? EmitBf16(rows, sink) : EmitF32(rows, sink);
}

void SegmentGradients::EmitF32(const SegmentRows& rows, const Sink& sink) const {
  Tensor x = rows.x.to(torch::kFloat), grad_y = rows.grad_y.to(torch::kFloat);
  Tensor grad_a = at::mm(rows.grad_h.t(), x);
  sink(group_.a_offset, grad_a.numel(), grad_a.data_ptr<float>());
  for (size_t s = 0; s < group_.slots.size(); ++s) {
    const AdapterLayout::Slot& slot = group_.slots[s];
    Tensor grad_b = at::mm(grad_y.narrow(1, slot.out_first, slot.out).t(),
                           rows.h.narrow(1, static_cast<int64_t>(s) * rank_, rank_));
    grad_b.mul_(scale_);
    sink(slot.b_offset, grad_b.numel(), grad_b.data_ptr<float>());
  }
}

void SegmentGradients::EmitBf16(const SegmentRows& rows, const Sink& sink) const {
  thread_local std::vector<float> product_buffer, result_buffer;
  const int64_t length = rows.x.size(0), in = rows.x.size(1), hidden = rows.h.size(1), out = rows.grad_y.size(1);
  float* product = Sized(product_buffer, std::max(hidden * in, rank_ * out));
  float* result = Sized(result_buffer, rank_ * out);
  MultiplyTurned({rows.grad_h.data_ptr<float>(), rows.grad_h.stride(0)}, {rows.x.data_ptr<BFloat16>(), rows.x.stride(0)}, length,
                 hidden, in, product);
  sink(group_.a_offset, hidden * in, product);
  for (size_t s = 0; s < group_.slots.size(); ++s) {
    const AdapterLayout::Slot& slot = group_.slots[s];
    MultiplyTurned({rows.h.data_ptr<float>() + static_cast<int64_t>(s) * rank_, rows.h.stride(0)},
                   {rows.grad_y.data_ptr<BFloat16>() + slot.out_first, rows.grad_y.stride(0)}, length, rank_, slot.out, product);
    for (int64_t i = 0; i < slot.out; ++i) {
      for (int64_t j = 0; j < rank_; ++j) result[i * rank_ + j] = scale_ * product[j * slot.out + i];
    }
    sink(slot.b_offset, slot.out * rank_, result);
  }
}

}  // namespace elrea
