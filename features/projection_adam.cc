#include "features/projection_adam.h"

#include <algorithm>
#include <cmath>

#ifdef __AVX512F__
#include <immintrin.h>
#endif

namespace elrea {

AdamCoefficients::AdamCoefficients(const AdamForm& form) {
  const double steps = static_cast<double>(form.steps);
  const double correction1 = 1 - std::pow(form.beta1, steps), correction2 = 1 - std::pow(form.beta2, steps);
  m = static_cast<float>(form.momentum ? form.beta1 / correction1 : 0);
  g = static_cast<float>((1 - form.beta1) / correction1);
  v = static_cast<float>(form.beta2 / correction2);
  g_squared = static_cast<float>((1 - form.beta2) / correction2);
  eps = static_cast<float>(form.eps);
}

void ApplyAdamFormPortable(const AdamForm& form, const float* g, const float* m, const float* v,
                           int64_t count, float* out) {
  const AdamCoefficients c(form);
  for (int64_t i = 0; i < count; ++i) {
    const float first = form.momentum ? std::fma(c.m, m[i], c.g * g[i]) : c.g * g[i];
    const float second = std::fma(c.v, v[i], c.g_squared * (g[i] * g[i]));
    out[i] = first / (std::sqrt(second) + c.eps);
  }
}

void ApplyAdamForm(const AdamForm& form, const float* g, const float* m, const float* v, int64_t count,
                   float* out) {
  int64_t i = 0;
#ifdef __AVX512F__
  const AdamCoefficients c(form);
  const __m512 c_m = _mm512_set1_ps(c.m), c_g = _mm512_set1_ps(c.g), c_v = _mm512_set1_ps(c.v);
  const __m512 c_g_squared = _mm512_set1_ps(c.g_squared), eps = _mm512_set1_ps(c.eps);
  for (; i + 16 <= count; i += 16) {
    const __m512 grad = _mm512_loadu_ps(g + i);
    __m512 first = _mm512_mul_ps(c_g, grad);
    if (form.momentum) first = _mm512_fmadd_ps(c_m, _mm512_loadu_ps(m + i), first);
    const __m512 second =
        _mm512_fmadd_ps(c_v, _mm512_loadu_ps(v + i), _mm512_mul_ps(c_g_squared, _mm512_mul_ps(grad, grad)));
    _mm512_storeu_ps(out + i, _mm512_div_ps(first, _mm512_add_ps(_mm512_maskz_sqrt_ps(0xffff, second), eps)));
  }
#endif
  ApplyAdamFormPortable(form, g + i, form.momentum ? m + i : m, v + i, count - i, out + i);
}

void ProjectAdam(const AdamForm& form, const float* g, const float* m, const float* v, int64_t begin,
                 int64_t count, std::span<const RandomProjection> projections, std::span<float* const> sums) {
  constexpr int64_t kBlock = 1024;
  alignas(64) float block[kBlock];
  for (int64_t done = 0; done < count; done += kBlock) {
    const int64_t length = std::min(kBlock, count - done);
    ApplyAdamForm(form, g + done, form.momentum ? m + done : m, v + done, length, block);
    AccumulateAll(projections, block, begin + done, length, sums);
  }
}

}  // namespace elrea
