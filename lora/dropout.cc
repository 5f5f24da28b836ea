#include "lora/dropout.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
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

// A 32-bit finaliser with full avalanche (Wellons' lowbias32), sixteen counters at a time.
inline VecU MixLanes(VecU x) {
  x ^= x >> 16;
  x *= 0x7feb352dU;
  x ^= x >> 15;
  x *= 0x846ca68bU;
  return x ^ (x >> 16);
}

template <typename T>
void DropRows(const T* x, T* out, int64_t rows, int64_t width, const DropoutMask& mask) {
  auto threshold = static_cast<uint32_t>(std::lround(mask.probability * 4294967296.0));
  float scale = static_cast<float>(1.0 / (1.0 - mask.probability));
  VecU lane;
  for (int i = 0; i < kLanes; ++i) lane[i] = static_cast<uint32_t>(i);
  at::parallel_for(0, rows, 16, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      auto row_key = static_cast<uint32_t>(RandomBits(mask.key, 0, static_cast<uint64_t>(r)));
      for (int64_t i = 0; i < width; i += kLanes) {
        VecU bits = MixLanes((lane + static_cast<uint32_t>(i)) ^ row_key);
        Vec v = Load(x + r * width + i) * scale;
        Store(out + r * width + i, bits >= threshold ? v : Vec{});
      }
    }
  });
}

}  // namespace

Tensor ApplyDropout(const Tensor& x, const DropoutMask& mask) {
  if (mask.probability <= 0) return x;
  int64_t width = x.size(1);
  if (!x.is_cpu() || width % kLanes != 0) {
    // Other devices and odd widths: the mask is made from the same key by the device's own generator.
    at::Generator generator = at::detail::createCPUGenerator(mask.key);
    Tensor keep = torch::rand({x.size(0), width}, generator, torch::kFloat).ge_(mask.probability);
    return x * keep.to(x.device(), x.scalar_type()).mul_(1.0 / (1.0 - mask.probability));
  }
  Tensor out = torch::empty_like(x);
  if (x.scalar_type() == torch::kFloat) {
    DropRows(x.data_ptr<float>(), out.data_ptr<float>(), x.size(0), width, mask);
  } else {
    DropRows(x.data_ptr<c10::BFloat16>(), out.data_ptr<c10::BFloat16>(), x.size(0), width, mask);
  }
  return out;
}

}  // namespace elrea
