#include "lora/dropout.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "lora/dropout_bits.h"
#include "model/simd.h"
#ifdef ELREA_CUDA
#include "lora/dropout_cuda.h"
#include "model/cuda_glue.h"
#endif

namespace elrea {

using simd::kLanes;
using simd::Load;
using simd::Store;
using simd::Vec;
using simd::VecU;
using torch::Tensor;

namespace {

// out = (or, adding, +=) the masked rows.
template <bool kAdd, typename T>
void MaskRows(const T* x, T* out, int64_t width, const DropoutRows& rows) {
  const uint32_t threshold = DropoutThreshold(rows.mask.probability);
  const float scale = DropoutScale(rows.mask.probability);
  VecU lane;
  for (int i = 0; i < kLanes; ++i) lane[i] = static_cast<uint32_t>(i);
  at::parallel_for(rows.begin, rows.end, 16, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const auto place = static_cast<uint64_t>(rows.first_place + r - rows.begin);
      const uint32_t row_key = DropoutRowKey(rows.mask.key, place);
      const T* in = x + r * width;
      T* to = out + r * width;
      int64_t i = 0;
      for (; i + kLanes <= width; i += kLanes) {
        const VecU bits = DropoutBits((lane + static_cast<uint32_t>(i)) ^ row_key);
        const Vec kept = bits >= threshold ? Load(in + i) * scale : Vec{};
        if constexpr (kAdd) {
          Store(to + i, Load(to + i) + kept);
        } else {
          Store(to + i, kept);
        }
      }
      for (; i < width; ++i) {
        const bool keep = DropoutBits(static_cast<uint32_t>(i) ^ row_key) >= threshold;
        const float kept = keep ? static_cast<float>(in[i]) * scale : 0.0f;
        to[i] = static_cast<T>(kAdd ? static_cast<float>(to[i]) + kept : kept);
      }
    }
  });
}

#ifdef ELREA_CUDA
void MaskOnCuda(const Tensor& x, const DropoutRows& rows, bool add, Tensor& out) {
  const int64_t first = rows.begin * x.size(1);
  const LaunchScope stream(x);
  ELREA_DISPATCH_CUDA(x.scalar_type(), "Dropout", {
    C10_CUDA_CHECK(cuda::Dropout<T>({.x = CudaData<T>(x) + first,
                                     .out = CudaData<T>(out) + first,
                                     .rows = rows.end - rows.begin,
                                     .width = x.size(1),
                                     .key = rows.mask.key,
                                     .first_place = static_cast<uint64_t>(rows.first_place),
                                     .threshold = DropoutThreshold(rows.mask.probability),
                                     .scale = DropoutScale(rows.mask.probability),
                                     .add = add},
                                    stream));
  });
}
#endif

template <bool kAdd>
void MaskTensor(const Tensor& x, const DropoutRows& rows, Tensor& out) {
  const int64_t width = x.size(1);
#ifdef ELREA_CUDA
  if (x.is_cuda()) return MaskOnCuda(x, rows, kAdd, out);
#endif
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
