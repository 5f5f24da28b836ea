#include "features/segment_gradients.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <vector>

#include "model/bf16_products.h"

namespace elrea {

using c10::BFloat16;
using torch::Tensor;

namespace {

// rows [length, width] f32 -> [width, length rounded up to even] bf16, zero behind the end.
void Turn(const Tensor& rows, BFloat16* turned) {
  const int64_t length = rows.size(0), width = rows.size(1), padded = (length + 1) / 2 * 2, stride = rows.stride(0);
  const float* data = rows.data_ptr<float>();
  for (int64_t t = 0; t < padded; ++t) {
    for (int64_t j = 0; j < width; ++j) turned[j * padded + t] = static_cast<BFloat16>(t < length ? data[t * stride + j] : 0);
  }
}

}  // namespace

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

// The long rows (x, grad_y) are packed in pairs; the short ones (h, grad_h) are turned.
void SegmentGradients::EmitBf16(const SegmentRows& rows, const Sink& sink) const {
  thread_local std::vector<BFloat16> packed_buffer, turned_buffer;
  thread_local std::vector<float> product_buffer, result_buffer;
  const int64_t length = rows.x.size(0), in = rows.x.size(1), out = rows.grad_y.size(1), hidden = rows.h.size(1);
  const int64_t pairs = (length + 1) / 2;
  BFloat16* packed = Sized(packed_buffer, 2 * pairs * std::max(in, out));
  BFloat16* turned = Sized(turned_buffer, 2 * pairs * hidden);
  float* product = Sized(product_buffer, std::max(hidden * in, rank_ * out));
  float* result = Sized(result_buffer, rank_ * out);

  Turn(rows.grad_h, turned);
  PackRowPairs(rows.x.data_ptr<BFloat16>(), rows.x.stride(0), length, in, packed);
  MultiplyPacked(turned, 2 * pairs, hidden, pairs, {packed, in}, in, product, in, /*accumulate=*/false);
  sink(group_.a_offset, hidden * in, product);

  Turn(rows.h, turned);
  PackRowPairs(rows.grad_y.data_ptr<BFloat16>(), rows.grad_y.stride(0), length, out, packed);
  for (size_t s = 0; s < group_.slots.size(); ++s) {
    const AdapterLayout::Slot& slot = group_.slots[s];
    MultiplyPacked(turned + static_cast<int64_t>(s) * rank_ * 2 * pairs, 2 * pairs, rank_, pairs,
                   {packed + 2 * slot.out_first, out}, slot.out, product, slot.out, /*accumulate=*/false);
    for (int64_t i = 0; i < slot.out; ++i) {
      for (int64_t j = 0; j < rank_; ++j) result[i * rank_ + j] = scale_ * product[j * slot.out + i];
    }
    sink(slot.b_offset, slot.out * rank_, result);
  }
}

}  // namespace elrea
