// The fused CPU kernels. Each is parallel over tokens (a token's result never depends on another's, so neither on the
// number of threads) and falls back to its eager twin on other devices or when a width is not a multiple of 16 lanes;
// on CUDA, where that is built, to a kernel of its own.
#include "model/kernels.h"

#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>

#include <cmath>

#include "model/simd.h"
#ifdef ELREA_CUDA
#include "model/kernels_gpu.h"
#endif

namespace elrea {

using simd::kLanes;
using simd::Load;
using simd::Splat;
using simd::Store;
using simd::Vec;
using torch::Tensor;

#ifdef ELREA_CUDA
namespace otherwise = gpu;
#else
namespace otherwise = eager;
#endif

namespace {

bool UseFused(const Tensor& x, int64_t width) { return x.is_cpu() && width % kLanes == 0 && x.stride(-1) == 1; }

// Tokens per task: a few microseconds of work each.
constexpr int64_t kGrain = 16;

#define ELREA_DISPATCH(dtype, name, ...)                                                             \
  AT_DISPATCH_SWITCH(dtype, name, AT_DISPATCH_CASE(at::kFloat, __VA_ARGS__) AT_DISPATCH_CASE(at::kBFloat16, __VA_ARGS__))

template <typename T>
float RowRstd(const T* x, int64_t width, double eps) {
  Vec total = Splat(0);
  for (int64_t i = 0; i < width; i += kLanes) {
    Vec v = Load(x + i);
    total += v * v;
  }
  return 1.0f / std::sqrt(simd::Sum(total) / static_cast<float>(width) + static_cast<float>(eps));
}

// dx = rstd * (g w - xhat * mean(g w xhat)), xhat = x rstd; calls emit(i, dx lanes).
template <typename G, typename X, typename Emit>
void RowNormGradient(const G* g, const X* x, float rstd, const float* w, int64_t width, Emit emit) {
  Vec dot = Splat(0);
  for (int64_t i = 0; i < width; i += kLanes) dot += Load(g + i) * Load(w + i) * Load(x + i);
  float mean = simd::Sum(dot) * rstd / static_cast<float>(width);
  for (int64_t i = 0; i < width; i += kLanes) {
    emit(i, (Load(g + i) * Load(w + i) - Load(x + i) * (rstd * mean)) * rstd);
  }
}

template <typename T>
void AddAndNormRows(Tensor& residual, const Tensor& addend, const Tensor& weight, double eps, Tensor& normed,
                    Tensor& rstd, Tensor& saved) {
  int64_t dim = residual.size(1);
  float* r = residual.data_ptr<float>();
  const T* a = addend.defined() ? addend.data_ptr<T>() : nullptr;
  T* s = saved.defined() ? saved.data_ptr<T>() : nullptr;
  const float* w = weight.data_ptr<float>();
  T* n = normed.data_ptr<T>();
  float* scale = rstd.data_ptr<float>();
  at::parallel_for(0, residual.size(0), kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      float* row = r + t * dim;
      if (a) {
        for (int64_t i = 0; i < dim; i += kLanes) Store(row + i, Load(row + i) + Load(a + t * dim + i));
      }
      scale[t] = RowRstd(row, dim, eps);
      for (int64_t i = 0; i < dim; i += kLanes) {
        Vec v = Load(row + i);
        Store(n + t * dim + i, v * scale[t] * Load(w + i));
        if (s) Store(s + t * dim + i, v);
      }
    }
  });
}

template <typename T>
void RopeRow(T* row, int64_t num_heads, int64_t head_dim, const float* cos, const float* sin, float sign) {
  int64_t half = head_dim / 2;
  for (int64_t h = 0; h < num_heads; ++h, row += head_dim) {
    for (int64_t i = 0; i < half; i += kLanes) {
      Vec a = Load(row + i), b = Load(row + half + i), c = Load(cos + i), s = Load(sin + i) * sign;
      Store(row + i, a * c - b * s);
      Store(row + half + i, b * c + a * s);
    }
  }
}

// f(x) and f'(x).
struct Activated {
  Vec value, slope;
};
inline Activated ActivateSilu(Vec x) {
  Vec s = simd::Sigmoid(x);
  return {x * s, s * (1.0f + x * (1.0f - s))};
}
// gelu_tanh(x) = x sigmoid(2 u), u = alpha (x + beta x^3): this form has no cancellation at large |x|.
inline Activated ActivateGeluTanh(Vec x) {
  constexpr float kAlpha = 0.7978845608028654f, kBeta = 0.044715f;
  Vec e = simd::Exp(-2.0f * kAlpha * (x + kBeta * x * x * x));
  Vec s = 1.0f / (1.0f + e);
  Vec slope_of_s = 2.0f * kAlpha * (1.0f + 3.0f * kBeta * x * x) * (e * s) * s;
  return {x * s, s + x * slope_of_s};
}

template <typename T, Activated (*Activate)(Vec)>
void GatedRows(const T* gate_up, T* act, int64_t ffn, int64_t begin, int64_t end) {
  for (int64_t t = begin; t < end; ++t) {
    const T* row = gate_up + t * 2 * ffn;
    for (int64_t i = 0; i < ffn; i += kLanes) {
      Store(act + t * ffn + i, Activate(Load(row + i)).value * Load(row + ffn + i));
    }
  }
}

template <typename T, Activated (*Activate)(Vec)>
void GatedBackwardRows(const T* grad_act, const T* gate_up, T* grad, int64_t ffn, int64_t begin, int64_t end) {
  for (int64_t t = begin; t < end; ++t) {
    const T* row = gate_up + t * 2 * ffn;
    T* out = grad + t * 2 * ffn;
    for (int64_t i = 0; i < ffn; i += kLanes) {
      Vec g = Load(grad_act + t * ffn + i), up = Load(row + ffn + i);
      Activated f = Activate(Load(row + i));
      Store(out + i, g * up * f.slope);
      Store(out + ffn + i, g * f.value);
    }
  }
}

// `Rows` tokens and 2 vectors of outputs at once: the products with m stay in registers.
template <typename T, int Rows>
void LowRankRows(T* y, int64_t y_stride, const float* h, int64_t h_stride, const float* m, int64_t k, int64_t out,
                 float scale) {
  for (int64_t i = 0; i < out; i += 2 * kLanes) {
    bool pair = i + kLanes < out;
    Vec low[Rows] = {}, high[Rows] = {};
    for (int64_t j = 0; j < k; ++j) {
      Vec m0 = Load(m + j * out + i), m1 = pair ? Load(m + j * out + i + kLanes) : Splat(0);
#pragma GCC unroll 8
      for (int r = 0; r < Rows; ++r) {
        Vec x = Splat(h[r * h_stride + j]);
        low[r] += x * m0;
        high[r] += x * m1;
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r) {
      T* p = y + r * y_stride + i;
      Store(p, Load(p) + low[r] * scale);
      if (pair) Store(p + kLanes, Load(p + kLanes) + high[r] * scale);
    }
  }
}

}  // namespace

void AddAndNorm(Tensor& residual, const Tensor& addend, const Tensor& weight, double eps, Tensor& normed, Tensor& rstd,
                Tensor& saved) {
  if (!UseFused(residual, residual.size(1))) {
    return otherwise::AddAndNorm(residual, addend, weight, eps, normed, rstd, saved);
  }
  ELREA_DISPATCH(normed.scalar_type(), "AddAndNorm",
                 [&] { AddAndNormRows<scalar_t>(residual, addend, weight, eps, normed, rstd, saved); });
}

void ReplayNorm(const Tensor& saved, const Tensor& rstd, const Tensor& weight, Tensor& normed) {
  int64_t dim = saved.size(1);
  if (!UseFused(saved, dim)) return otherwise::ReplayNorm(saved, rstd, weight, normed);
  ELREA_DISPATCH(normed.scalar_type(), "ReplayNorm", [&] {
    const scalar_t* s = saved.data_ptr<scalar_t>();
    scalar_t* n = normed.data_ptr<scalar_t>();
    const float *w = weight.data_ptr<float>(), *scale = rstd.data_ptr<float>();
    at::parallel_for(0, saved.size(0), kGrain, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        for (int64_t i = 0; i < dim; i += kLanes) {
          Store(n + t * dim + i, Load(s + t * dim + i) * scale[t] * Load(w + i));
        }
      }
    });
  });
}

void NormBackward(const Tensor& grad_normed, const Tensor& saved, const Tensor& rstd, const Tensor& weight,
                  Tensor& grad_residual) {
  int64_t dim = saved.size(1);
  if (!UseFused(saved, dim)) return otherwise::NormBackward(grad_normed, saved, rstd, weight, grad_residual);
  ELREA_DISPATCH(saved.scalar_type(), "NormBackward", [&] {
    const scalar_t *g = grad_normed.data_ptr<scalar_t>(), *s = saved.data_ptr<scalar_t>();
    const float *w = weight.data_ptr<float>(), *scale = rstd.data_ptr<float>();
    float* out = grad_residual.data_ptr<float>();
    at::parallel_for(0, saved.size(0), kGrain, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        float* row = out + t * dim;
        RowNormGradient(g + t * dim, s + t * dim, scale[t], w, dim,
                        [&](int64_t i, Vec dx) { Store(row + i, Load(row + i) + dx); });
      }
    });
  });
}

void SliceNorm(Tensor x, int64_t num_slices, const Tensor& weight, double eps, Tensor& saved, Tensor& rstd) {
  int64_t width = weight.numel();
  if (!UseFused(x, width)) return otherwise::SliceNorm(x, num_slices, weight, eps, saved, rstd);
  ELREA_DISPATCH(x.scalar_type(), "SliceNorm", [&] {
    scalar_t* data = x.data_ptr<scalar_t>();
    scalar_t* s = saved.defined() ? saved.data_ptr<scalar_t>() : nullptr;
    float* scales = rstd.defined() ? rstd.data_ptr<float>() : nullptr;
    const float* w = weight.data_ptr<float>();
    int64_t stride = x.stride(0);
    at::parallel_for(0, x.size(0), kGrain, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        for (int64_t slice = 0; slice < num_slices; ++slice) {
          scalar_t* row = data + t * stride + slice * width;
          float scale = RowRstd(row, width, eps);
          if (scales) scales[t * num_slices + slice] = scale;
          for (int64_t i = 0; i < width; i += kLanes) {
            Vec v = Load(row + i);
            if (s) Store(s + (t * num_slices + slice) * width + i, v);
            Store(row + i, v * scale * Load(w + i));
          }
        }
      }
    });
  });
}

void SliceNormBackward(Tensor grad, int64_t num_slices, const Tensor& weight, const Tensor& saved,
                       const Tensor& rstd) {
  int64_t width = weight.numel();
  if (!UseFused(grad, width)) return otherwise::SliceNormBackward(grad, num_slices, weight, saved, rstd);
  ELREA_DISPATCH(grad.scalar_type(), "SliceNormBackward", [&] {
    scalar_t* data = grad.data_ptr<scalar_t>();
    const scalar_t* s = saved.data_ptr<scalar_t>();
    const float *scales = rstd.data_ptr<float>(), *w = weight.data_ptr<float>();
    int64_t stride = grad.stride(0);
    at::parallel_for(0, grad.size(0), kGrain, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        for (int64_t slice = 0; slice < num_slices; ++slice) {
          scalar_t* row = data + t * stride + slice * width;
          int64_t k = t * num_slices + slice;
          RowNormGradient(row, s + k * width, scales[k], w, width, [&](int64_t i, Vec dx) { Store(row + i, dx); });
        }
      }
    });
  });
}

void Rope(Tensor x, int64_t num_heads, int64_t head_dim, const Tensor& table, const Tensor& positions, bool inverse) {
  if (!UseFused(x, head_dim / 2)) return otherwise::Rope(x, num_heads, head_dim, table, positions, inverse);
  ELREA_DISPATCH(x.scalar_type(), "Rope", [&] {
    scalar_t* data = x.data_ptr<scalar_t>();
    const float* angles = table.data_ptr<float>();
    const int64_t* position = positions.data_ptr<int64_t>();
    int64_t stride = x.stride(0);
    float sign = inverse ? -1.0f : 1.0f;
    at::parallel_for(0, x.size(0), kGrain, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        const float* cos = angles + position[t] * head_dim;
        RopeRow(data + t * stride, num_heads, head_dim, cos, cos + head_dim / 2, sign);
      }
    });
  });
}

void GatedActivation(const Tensor& gate_up, Activation activation, Tensor& act) {
  int64_t ffn = gate_up.size(1) / 2;
  if (!UseFused(gate_up, ffn)) return otherwise::GatedActivation(gate_up, activation, act);
  ELREA_DISPATCH(gate_up.scalar_type(), "GatedActivation", [&] {
    const scalar_t* in = gate_up.data_ptr<scalar_t>();
    scalar_t* out = act.data_ptr<scalar_t>();
    auto rows = activation == Activation::kSilu ? GatedRows<scalar_t, ActivateSilu> : GatedRows<scalar_t, ActivateGeluTanh>;
    at::parallel_for(0, gate_up.size(0), kGrain, [&](int64_t b, int64_t e) { rows(in, out, ffn, b, e); });
  });
}

void GatedActivationBackward(const Tensor& grad_act, const Tensor& gate_up, Activation activation,
                             Tensor& grad_gate_up) {
  int64_t ffn = gate_up.size(1) / 2;
  if (!UseFused(gate_up, ffn)) return otherwise::GatedActivationBackward(grad_act, gate_up, activation, grad_gate_up);
  ELREA_DISPATCH(gate_up.scalar_type(), "GatedActivationBackward", [&] {
    const scalar_t *g = grad_act.data_ptr<scalar_t>(), *in = gate_up.data_ptr<scalar_t>();
    scalar_t* out = grad_gate_up.data_ptr<scalar_t>();
    auto rows = activation == Activation::kSilu ? GatedBackwardRows<scalar_t, ActivateSilu>
                                                : GatedBackwardRows<scalar_t, ActivateGeluTanh>;
    at::parallel_for(0, gate_up.size(0), kGrain, [&](int64_t b, int64_t e) { rows(g, in, out, ffn, b, e); });
  });
}

void AddLowRank(Tensor& y, int64_t first, const Tensor& h, int64_t h_first, const Tensor& m, float scale,
                int64_t row_begin, int64_t row_end) {
  int64_t k = m.size(0), out = m.size(1);
  if (!UseFused(y, out)) return otherwise::AddLowRank(y, first, h, h_first, m, scale, row_begin, row_end);
  ELREA_DISPATCH(y.scalar_type(), "AddLowRank", [&] {
    scalar_t* data = y.data_ptr<scalar_t>() + first;
    const float *in = h.data_ptr<float>() + h_first, *matrix = m.data_ptr<float>();
    int64_t y_stride = y.stride(0), h_stride = h.stride(0);
    constexpr int kBlock = 6;
    at::parallel_for(row_begin, row_end, kGrain * kBlock, [&](int64_t begin, int64_t end) {
      int64_t t = begin;
      for (; t + kBlock <= end; t += kBlock) {
        LowRankRows<scalar_t, kBlock>(data + t * y_stride, y_stride, in + t * h_stride, h_stride, matrix, k, out, scale);
      }
      for (; t < end; ++t) {
        LowRankRows<scalar_t, 1>(data + t * y_stride, y_stride, in + t * h_stride, h_stride, matrix, k, out, scale);
      }
    });
  });
}

}  // namespace elrea
