// The small operations of one row in the decode engine (decode_engine.cc): f32, sixteen lanes at a time.
#pragma once

#include <torch/types.h>

#include <cmath>
#include <cstdint>
#include <new>
#include <vector>

#include "model/config.h"
#include "model/simd.h"

namespace elrea {

// Memory that starts at a cache line, so that vectors of a line do not cross from one to the next.
template <typename T>
struct LineAllocator {
  using value_type = T;
  LineAllocator() = default;
  template <typename U>
  LineAllocator(const LineAllocator<U>&) {}
  T* allocate(size_t n) { return static_cast<T*>(::operator new (n * sizeof(T), std::align_val_t{64})); }
  void deallocate(T* p, size_t) { ::operator delete (p, std::align_val_t{64}); }
  bool operator==(const LineAllocator&) const { return true; }
};
using Lines = std::vector<float, LineAllocator<float>>;

// Of rows of `width` f32: an odd number of cache lines, so that the same column of many rows does not fall into a few sets
// of a cache.
inline int64_t LineStride(int64_t width) { return (((width + 15) / 16) | 1) * 16; }

// Asks for [begin, end) of an array to be brought near.
template <typename T>
void Prefetch(const T* data, int64_t begin, int64_t end) {
  const auto* from = reinterpret_cast<const char*>(data + begin);
  const auto* to = reinterpret_cast<const char*>(data + end);
  for (; from < to; from += 64) __builtin_prefetch(from, 0, 2);
}

inline simd::Vec Activate(Activation activation, simd::Vec x) {
  if (activation == Activation::kSilu) return x * simd::Sigmoid(x);
  constexpr float kAlpha = 0.7978845608028654f, kBeta = 0.044715f;
  return x * simd::Sigmoid(2.0f * kAlpha * (x + kBeta * x * x * x));  // x (1 + tanh u) / 2 = x sigmoid(2 u)
}

// out = x / rms(x) * weight; may be in place.
inline void Norm(const float* x, const torch::Tensor& weight, double eps, float* out) {
  const int64_t width = weight.numel();
  const float* w = weight.data_ptr<float>();
  simd::Vec squares = simd::Splat(0);
  for (int64_t i = 0; i < width; i += simd::kLanes) squares += simd::Load(x + i) * simd::Load(x + i);
  const float rstd =
      1.0f / std::sqrt(simd::Sum(squares) / static_cast<float>(width) + static_cast<float>(eps));
  for (int64_t i = 0; i < width; i += simd::kLanes)
    simd::Store(out + i, simd::Load(x + i) * rstd * simd::Load(w + i));
}

inline void Rotate(float* head, int64_t head_dim, const float* cos) {
  const int64_t half = head_dim / 2;
  const float* sin = cos + half;
  for (int64_t i = 0; i < half; i += simd::kLanes) {
    const simd::Vec a = simd::Load(head + i), b = simd::Load(head + half + i), c = simd::Load(cos + i),
                    s = simd::Load(sin + i);
    simd::Store(head + i, a * c - b * s);
    simd::Store(head + half + i, b * c + a * s);
  }
}

}  // namespace elrea
