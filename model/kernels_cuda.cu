// The fused steps of a decoder block for CUDA. A row (of a token, or a head of it) belongs to a warp or a block, which
// reads it from memory once: the second loop over a row finds it in the cache. Every thread reads again only what it
// has written itself, so the steps in place need no further order.
#include "model/kernels_cuda.h"

#include "model/cuda_packs.cuh"

namespace elrea::cuda {

namespace {

// Packs of 4: 16 bytes of f32, 8 of bf16.
constexpr int kPack = 4;

template <int V, int kWarps, typename T>
__global__ void AddAndNormKernel(AddAndNormArgs<T> a) {
  const int64_t row = ThreadRow();
  if (row >= a.rows) return;
  const int64_t start = row * a.width;
  float total = 0;
  for (int64_t i = threadIdx.x * V; i < a.width; i += blockDim.x * V) {
    float v[V];
    Load(a.residual + start + i, v);
    if (a.addend) {
      float added[V];
      Load(a.addend + start + i, added);
#pragma unroll
      for (int c = 0; c < V; ++c) v[c] += added[c];
      Store(a.residual + start + i, v);
    }
#pragma unroll
    for (int c = 0; c < V; ++c) total += v[c] * v[c];
  }
  const float scale = 1.0f / sqrtf(RowSum<kWarps>(total) / static_cast<float>(a.width) + a.eps);
  if (threadIdx.x == 0) a.rstd[row] = scale;
  for (int64_t i = threadIdx.x * V; i < a.width; i += blockDim.x * V) {
    float v[V], w[V], normed[V];
    Load(a.residual + start + i, v);
    Load(a.weight + i, w);
#pragma unroll
    for (int c = 0; c < V; ++c) normed[c] = v[c] * scale * w[c];
    Store(a.normed + start + i, normed);
    if (a.saved) Store(a.saved + start + i, v);
  }
}

template <int V, typename T>
__global__ void ReplayNormKernel(ReplayNormArgs<T> a) {
  const int64_t row = ThreadRow();
  if (row >= a.rows) return;
  const int64_t start = row * a.width;
  const float scale = a.rstd[row];
  for (int64_t i = threadIdx.x * V; i < a.width; i += blockDim.x * V) {
    float v[V], w[V];
    Load(a.saved + start + i, v);
    Load(a.weight + i, w);
#pragma unroll
    for (int c = 0; c < V; ++c) v[c] *= scale * w[c];
    Store(a.normed + start + i, v);
  }
}

// dx = rstd * (g w - x rstd * mean(g w x rstd)) of one row; `emit` takes the index of a pack and its values.
template <int V, int kWarps, typename T, typename Emit>
__device__ void RowNormGradient(const T* g, const T* x, float rstd, const float* weight, int64_t width,
                                const Emit& emit) {
  float dot = 0;
  for (int64_t i = threadIdx.x * V; i < width; i += blockDim.x * V) {
    float gv[V], xv[V], w[V];
    Load(g + i, gv);
    Load(x + i, xv);
    Load(weight + i, w);
#pragma unroll
    for (int c = 0; c < V; ++c) dot += gv[c] * w[c] * xv[c];
  }
  const float mean = RowSum<kWarps>(dot) * rstd / static_cast<float>(width);
  for (int64_t i = threadIdx.x * V; i < width; i += blockDim.x * V) {
    float gv[V], xv[V], w[V], dx[V];
    Load(g + i, gv);
    Load(x + i, xv);
    Load(weight + i, w);
#pragma unroll
    for (int c = 0; c < V; ++c) dx[c] = (gv[c] * w[c] - xv[c] * (rstd * mean)) * rstd;
    emit(i, dx);
  }
}

template <int V, int kWarps, typename T>
__global__ void NormBackwardKernel(NormBackwardArgs<T> a) {
  const int64_t row = ThreadRow();
  if (row >= a.rows) return;
  const int64_t start = row * a.width;
  float* out = a.grad_residual + start;
  RowNormGradient<V, kWarps>(a.grad_normed + start, a.saved + start, a.rstd[row], a.weight, a.width,
                             [out](int64_t i, float (&dx)[V]) {
                               float sum[V];
                               Load(out + i, sum);
#pragma unroll
                               for (int c = 0; c < V; ++c) sum[c] += dx[c];
                               Store(out + i, sum);
                             });
}

// Rows are slices here: row t * slices + s is slice s of token t.
template <int V, int kWarps, typename T>
__global__ void SliceNormKernel(SliceNormArgs<T> a) {
  const int64_t row = ThreadRow();
  if (row >= a.tokens * a.slices) return;
  T* x = a.x + row / a.slices * a.stride + row % a.slices * a.width;
  float total = 0;
  for (int64_t i = threadIdx.x * V; i < a.width; i += blockDim.x * V) {
    float v[V];
    Load(x + i, v);
#pragma unroll
    for (int c = 0; c < V; ++c) total += v[c] * v[c];
  }
  const float scale = 1.0f / sqrtf(RowSum<kWarps>(total) / static_cast<float>(a.width) + a.eps);
  if (a.rstd && threadIdx.x == 0) a.rstd[row] = scale;
  for (int64_t i = threadIdx.x * V; i < a.width; i += blockDim.x * V) {
    float v[V], w[V];
    Load(x + i, v);
    Load(a.weight + i, w);
    if (a.saved) Store(a.saved + row * a.width + i, v);
#pragma unroll
    for (int c = 0; c < V; ++c) v[c] *= scale * w[c];
    Store(x + i, v);
  }
}

template <int V, int kWarps, typename T>
__global__ void SliceNormBackwardKernel(SliceNormBackwardArgs<T> a) {
  const int64_t row = ThreadRow();
  if (row >= a.tokens * a.slices) return;
  T* grad = a.grad + row / a.slices * a.stride + row % a.slices * a.width;
  RowNormGradient<V, kWarps>(static_cast<const T*>(grad), a.saved + row * a.width, a.rstd[row], a.weight, a.width,
                             [grad](int64_t i, float (&dx)[V]) { Store(grad + i, dx); });
}

// A block per token.
template <int V, typename T>
__global__ void RopeKernel(RopeArgs<T> a) {
  const int64_t half = a.head_dim / 2, packs = half / V;
  T* row = a.x + blockIdx.x * a.stride;
  const float* cosines = a.table + a.positions[blockIdx.x] * a.head_dim;
  for (int64_t k = threadIdx.x; k < a.heads * packs; k += blockDim.x) {
    const int64_t i = k % packs * V;
    T* first = row + k / packs * a.head_dim + i;
    float x[V], y[V], cosine[V], sine[V], turned_x[V], turned_y[V];
    Load(first, x);
    Load(first + half, y);
    Load(cosines + i, cosine);
    Load(cosines + half + i, sine);
#pragma unroll
    for (int c = 0; c < V; ++c) {
      turned_x[c] = x[c] * cosine[c] - y[c] * (sine[c] * a.sign);
      turned_y[c] = y[c] * cosine[c] + x[c] * (sine[c] * a.sign);
    }
    Store(first, turned_x);
    Store(first + half, turned_y);
  }
}

// f(x) and f'(x).
struct Activated {
  float value, slope;
};
template <GateFunction kFunction>
__device__ inline Activated Activate(float x) {
  if constexpr (kFunction == GateFunction::kSilu) {
    const float s = 1.0f / (1.0f + expf(-x));
    return {x * s, s * (1.0f + x * (1.0f - s))};
  } else {  // gelu_tanh(x) = x sigmoid(2 u), u = alpha (x + beta x^3); the bound keeps e * s finite
    constexpr float kAlpha = 0.7978845608028654f, kBeta = 0.044715f;
    const float e = expf(fminf(-2.0f * kAlpha * (x + kBeta * x * x * x), 88.0f));
    const float s = 1.0f / (1.0f + e);
    return {x * s, s + x * (2.0f * kAlpha * (1.0f + 3.0f * kBeta * x * x) * (e * s) * s)};
  }
}

// A block per row, as in the backward kernel.
template <int V, GateFunction kFunction, typename T>
__global__ void GatedActivationKernel(GatedActivationArgs<T> a) {
  const T* row = a.gate_up + blockIdx.x * 2 * a.ffn;
  T* out = a.act + blockIdx.x * a.ffn;
  for (int64_t i = threadIdx.x * V; i < a.ffn; i += blockDim.x * V) {
    float gate[V], up[V];
    Load(row + i, gate);
    Load(row + a.ffn + i, up);
#pragma unroll
    for (int c = 0; c < V; ++c) up[c] *= Activate<kFunction>(gate[c]).value;
    Store(out + i, up);
  }
}

template <int V, GateFunction kFunction, typename T>
__global__ void GatedActivationBackwardKernel(GatedActivationBackwardArgs<T> a) {
  const T* grad_act = a.grad_act + blockIdx.x * a.ffn;
  const T* row = a.gate_up + blockIdx.x * 2 * a.ffn;
  T* out = a.grad_gate_up + blockIdx.x * 2 * a.ffn;
  for (int64_t i = threadIdx.x * V; i < a.ffn; i += blockDim.x * V) {
    float g[V], gate[V], up[V], grad_gate[V], grad_up[V];
    Load(grad_act + i, g);
    Load(row + i, gate);
    Load(row + a.ffn + i, up);
#pragma unroll
    for (int c = 0; c < V; ++c) {
      const Activated f = Activate<kFunction>(gate[c]);
      grad_gate[c] = g[c] * up[c] * f.slope;
      grad_up[c] = g[c] * f.value;
    }
    Store(out + i, grad_gate);
    Store(out + a.ffn + i, grad_up);
  }
}

constexpr int kTileRows = 8, kTileDepth = 64, kLowRankThreads = 128;

// A block computes kTileRows rows of 128 V columns; a thread V columns of all these rows, so that each element of m
// read serves kTileRows products.
template <int V, typename T>
__global__ void AddLowRankKernel(AddLowRankArgs<T> a) {
  alignas(16) __shared__ float h[kTileDepth][kTileRows];  // the rows' values of one column side by side
  const int64_t first_row = static_cast<int64_t>(blockIdx.x) * kTileRows;
  const int64_t column = (static_cast<int64_t>(blockIdx.y) * blockDim.x + threadIdx.x) * V;
  float totals[kTileRows][V] = {};
  for (int64_t first = 0; first < a.k; first += kTileDepth) {
    const int depth = static_cast<int>(min(static_cast<int64_t>(kTileDepth), a.k - first));
    for (int i = threadIdx.x; i < kTileRows * depth; i += blockDim.x) {
      const int r = i / depth, j = i % depth;
      h[j][r] = first_row + r < a.rows ? a.h[(first_row + r) * a.h_stride + first + j] : 0.0f;
    }
    __syncthreads();
    if (column < a.out) {
      for (int j = 0; j < depth; ++j) {
        float m[V];
        Load(a.m + (first + j) * a.out + column, m);
#pragma unroll
        for (int r = 0; r < kTileRows; ++r) {
#pragma unroll
          for (int c = 0; c < V; ++c) totals[r][c] += h[j][r] * m[c];
        }
      }
    }
    __syncthreads();
  }
  if (column >= a.out) return;
#pragma unroll
  for (int r = 0; r < kTileRows; ++r) {
    if (first_row + r >= a.rows) return;
    T* y = a.y + (first_row + r) * a.y_stride + column;
    float v[V];
    Load(y, v);
#pragma unroll
    for (int c = 0; c < V; ++c) v[c] += totals[r][c] * a.scale;
    Store(y, v);
  }
}

template <typename... Pointers>
bool UsePacks(int64_t width, const Pointers*... pointers) {
  return width % kPack == 0 && (IsAligned<kPack>(pointers) && ...);
}

// kernel(Int<V>, function) with the widest packs that fit.
template <typename T, typename Launch>
cudaError_t LaunchGated(int64_t rows, bool use_packs, GateFunction function, const Launch& launch) {
  if (rows == 0) return cudaSuccess;
  constexpr auto kSilu = std::integral_constant<GateFunction, GateFunction::kSilu>{};
  constexpr auto kGelu = std::integral_constant<GateFunction, GateFunction::kGeluTanh>{};
  constexpr auto kWide = Int<16 / sizeof(T)>{};
  if (function == GateFunction::kSilu) {
    use_packs ? launch(kWide, kSilu) : launch(Int<1>{}, kSilu);
  } else {
    use_packs ? launch(kWide, kGelu) : launch(Int<1>{}, kGelu);
  }
  return cudaGetLastError();
}

template <typename T, typename... Pointers>
bool UseWidePacks(int64_t width, const Pointers*... pointers) {
  constexpr int kWide = 16 / sizeof(T);
  return width % kWide == 0 && (IsAligned<kWide>(pointers) && ...);
}

}  // namespace

template <typename T>
cudaError_t AddAndNorm(const AddAndNormArgs<T>& a, cudaStream_t stream) {
  const bool packs = UsePacks(a.width, a.residual, a.addend, a.weight, a.normed, a.saved);
  return LaunchRows(a.rows, a.width, packs, [&](auto v, auto warps, dim3 grid, dim3 block) {
    AddAndNormKernel<decltype(v)::value, decltype(warps)::value><<<grid, block, 0, stream>>>(a);
  });
}

template <typename T>
cudaError_t ReplayNorm(const ReplayNormArgs<T>& a, cudaStream_t stream) {
  const bool packs = UsePacks(a.width, a.saved, a.weight, a.normed);
  return LaunchRows(a.rows, a.width, packs, [&](auto v, auto, dim3 grid, dim3 block) {
    ReplayNormKernel<decltype(v)::value><<<grid, block, 0, stream>>>(a);
  });
}

template <typename T>
cudaError_t NormBackward(const NormBackwardArgs<T>& a, cudaStream_t stream) {
  const bool packs = UsePacks(a.width, a.grad_normed, a.saved, a.weight, a.grad_residual);
  return LaunchRows(a.rows, a.width, packs, [&](auto v, auto warps, dim3 grid, dim3 block) {
    NormBackwardKernel<decltype(v)::value, decltype(warps)::value><<<grid, block, 0, stream>>>(a);
  });
}

template <typename T>
cudaError_t SliceNorm(const SliceNormArgs<T>& a, cudaStream_t stream) {
  const bool packs = a.stride % kPack == 0 && UsePacks(a.width, a.x, a.weight, a.saved);
  return LaunchRows(a.tokens * a.slices, a.width, packs, [&](auto v, auto warps, dim3 grid, dim3 block) {
    SliceNormKernel<decltype(v)::value, decltype(warps)::value><<<grid, block, 0, stream>>>(a);
  });
}

template <typename T>
cudaError_t SliceNormBackward(const SliceNormBackwardArgs<T>& a, cudaStream_t stream) {
  const bool packs = a.stride % kPack == 0 && UsePacks(a.width, a.grad, a.weight, a.saved);
  return LaunchRows(a.tokens * a.slices, a.width, packs, [&](auto v, auto warps, dim3 grid, dim3 block) {
    SliceNormBackwardKernel<decltype(v)::value, decltype(warps)::value><<<grid, block, 0, stream>>>(a);
  });
}

template <typename T>
cudaError_t Rope(const RopeArgs<T>& a, cudaStream_t stream) {
  if (a.tokens == 0) return cudaSuccess;
  constexpr int kThreads = 128;
  const auto grid = static_cast<unsigned>(a.tokens);
  if (a.stride % kPack == 0 && UsePacks(a.head_dim / 2, a.x, a.table)) {
    RopeKernel<kPack><<<grid, kThreads, 0, stream>>>(a);
  } else {
    RopeKernel<1><<<grid, kThreads, 0, stream>>>(a);
  }
  return cudaGetLastError();
}

template <typename T>
cudaError_t GatedActivation(const GatedActivationArgs<T>& a, cudaStream_t stream) {
  const bool packs = UseWidePacks<T>(a.ffn, a.gate_up, a.act);
  return LaunchGated<T>(a.rows, packs, a.function, [&](auto v, auto function) {
    constexpr int kThreads = 256;
    GatedActivationKernel<decltype(v)::value, decltype(function)::value>
        <<<static_cast<unsigned>(a.rows), kThreads, 0, stream>>>(a);
  });
}

template <typename T>
cudaError_t GatedActivationBackward(const GatedActivationBackwardArgs<T>& a, cudaStream_t stream) {
  const bool packs = UseWidePacks<T>(a.ffn, a.grad_act, a.gate_up, static_cast<const T*>(a.grad_gate_up));
  return LaunchGated<T>(a.rows, packs, a.function, [&](auto v, auto function) {
    constexpr int kThreads = 256;
    GatedActivationBackwardKernel<decltype(v)::value, decltype(function)::value>
        <<<static_cast<unsigned>(a.rows), kThreads, 0, stream>>>(a);
  });
}

template <typename T>
cudaError_t AddLowRank(const AddLowRankArgs<T>& a, cudaStream_t stream) {
  if (a.rows == 0 || a.out == 0) return cudaSuccess;
  const bool packs = a.y_stride % kPack == 0 && UsePacks(a.out, a.y, a.m);
  const int64_t columns = kLowRankThreads * (packs ? kPack : 1);
  const dim3 grid(static_cast<unsigned>((a.rows + kTileRows - 1) / kTileRows),
                  static_cast<unsigned>((a.out + columns - 1) / columns));
  if (packs) {
    AddLowRankKernel<kPack><<<grid, kLowRankThreads, 0, stream>>>(a);
  } else {
    AddLowRankKernel<1><<<grid, kLowRankThreads, 0, stream>>>(a);
  }
  return cudaGetLastError();
}

#define ELREA_INSTANTIATE(T)                                                                              \
  template cudaError_t AddAndNorm<T>(const AddAndNormArgs<T>&, cudaStream_t);                             \
  template cudaError_t ReplayNorm<T>(const ReplayNormArgs<T>&, cudaStream_t);                             \
  template cudaError_t NormBackward<T>(const NormBackwardArgs<T>&, cudaStream_t);                         \
  template cudaError_t SliceNorm<T>(const SliceNormArgs<T>&, cudaStream_t);                               \
  template cudaError_t SliceNormBackward<T>(const SliceNormBackwardArgs<T>&, cudaStream_t);               \
  template cudaError_t Rope<T>(const RopeArgs<T>&, cudaStream_t);                                         \
  template cudaError_t GatedActivation<T>(const GatedActivationArgs<T>&, cudaStream_t);                   \
  template cudaError_t GatedActivationBackward<T>(const GatedActivationBackwardArgs<T>&, cudaStream_t);   \
  template cudaError_t AddLowRank<T>(const AddLowRankArgs<T>&, cudaStream_t);
ELREA_INSTANTIATE(float)
ELREA_INSTANTIATE(__nv_bfloat16)

}  // namespace elrea::cuda
