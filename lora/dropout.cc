#include "lora/dropout.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <cmath>

#include "core/rng.h"
#include "model/simd.h"

namespace elrea {

using simd::kLanes;
using simd::Load;
using simd::Store;
using simd::Vec;
using simd::VecU;
using torch::Tensor;

namespace {

// A 32-bit finaliser with full avalanche (Wellons' lowbias32), of one counter or of sixteen.
template <typename Bits>
inline Bits Mix(Bits x) {
  x ^= x >> 16;
  x *= 0x7feb352dU;
  x ^= x >> 15;
  x *= 0x846ca68bU;
  return x ^ (x >> 16);
}

// out = (or, adding, +=) the masked rows. The element at `column` is kept when Mix(column ^ key of the place) is large
// enough.
template <bool kAdd, typename T>
void MaskRows(const T* x, T* out, int64_t width, const DropoutRows& rows) {
  const auto threshold = static_cast<uint32_t>(std::lround(rows.mask.probability * 4294967296.0));
  const auto scale = static_cast<float>(1.0 / (1.0 - rows.mask.probability));
  VecU lane;
  for (int i = 0; i < kLanes; ++i) lane[i] = static_cast<uint32_t>(i);
  at::parallel_for(rows.begin, rows.end, 16, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const auto place = static_cast<uint64_t>(rows.first_place + r - rows.begin);
      const auto row_key = static_cast<uint32_t>(RandomBits(rows.mask.key, 0, place));
      const T* in = x + r * width;
      T* to = out + r * width;
      int64_t i = 0;
      for (; i + kLanes <= width; i += kLanes) {
        const VecU bits = Mix((lane + static_cast<uint32_t>(i)) ^ row_key);
        const Vec kept = bits >= threshold ? Load(in + i) * scale : Vec{};
        if constexpr (kAdd) {
          Store(to + i, Load(to + i) + kept);
        } else {
          Store(to + i, kept);
        }
      }
      for (; i < width; ++i) {
        const float kept = Mix(static_cast<uint32_t>(i) ^ row_key) >= threshold ? static_cast<float>(in[i]) * scale : 0.0f;
        to[i] = static_cast<T>(kAdd ? static_cast<float>(to[i]) + kept : kept);
      }
    }
  });
}

template <bool kAdd>
void MaskTensor(const Tensor& x, const DropoutRows& rows, Tensor& out) {
  const int64_t width = x.size(1);
  if (!x.is_cpu()) {  // the mask is made here and taken there
    const int64_t count = rows.end - rows.begin;
    Tensor mask = torch::ones({count, width}, torch::kFloat);
    MaskRows<false>(mask.data_ptr<float>(), mask.data_ptr<float>(), width, {rows.mask, 0, count, rows.first_place});
    Tensor kept = x.narrow(0, rows.begin, count) * mask.to(x.device(), x.scalar_type());
    Tensor to = out.narrow(0, rows.begin, count);
    if (kAdd) kept.add_(to);
    to.copy_(kept);
  } else if (x.scalar_type() == torch::kFloat) {
    MaskRows<kAdd>(x.data_ptr<float>(), out.data_ptr<float>(), width, rows);
  } else {
    MaskRows<kAdd>(x.data_ptr<c10::BFloat16>(), out.data_ptr<c10::BFloat16>(), width, rows);
  }
}

}  // namespace

void ApplyDropout(const Tensor& x, const DropoutRows& rows, Tensor& out) { MaskTensor<false>(x, rows, out); }

void AddDropped(const Tensor& x, const DropoutRows& rows, Tensor& out) { MaskTensor<true>(x, rows, out); }

}  // namespace elrea
