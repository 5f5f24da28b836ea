#include "model/token_loss.h"

#include <ATen/ATen.h>
#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>

#include "model/linear.h"
#include "model/simd.h"
#ifdef ELREA_CUDA
#include "model/cuda_glue.h"
#include "model/token_loss_cuda.h"
#endif

namespace elrea {

using simd::kLanes;
using simd::Load;
using simd::Splat;
using simd::Store;
using simd::Vec;
using torch::Tensor;

namespace {

// Logits of one chunk take at most this many elements; a GPU needs more of them at once to be busy.
constexpr int64_t kChunkElements = int64_t{1} << 24, kCudaChunkElements = int64_t{1} << 27;

// Log-sum-exp of one row in two passes over cached data. REQUIRES: vocab % 16 == 0.
template <typename T>
float LogSumExp(const T* row, int64_t vocab) {
  Vec best = Load(row);
  for (int64_t i = kLanes; i < vocab; i += kLanes) {
    Vec v = Load(row + i);
    best = v > best ? v : best;
  }
  float top = simd::Max(best);
  Vec total = Splat(0);
  for (int64_t i = 0; i < vocab; i += kLanes) total += simd::Exp(Load(row + i) - top);
  return top + std::log(simd::Sum(total));
}

// nll of each row; with `with_grad` the logits become weight * (softmax - onehot).
template <typename T>
void FusedRows(T* logits, int64_t vocab, const int64_t* targets, const float* weights, float* nll, int64_t rows,
               bool with_grad) {
  at::parallel_for(0, rows, 1, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      T* row = logits + r * vocab;
      float lse = LogSumExp(row, vocab);
      nll[r] = lse - static_cast<float>(row[targets[r]]);
      if (!with_grad) continue;
      for (int64_t i = 0; i < vocab; i += kLanes) Store(row + i, simd::Exp(Load(row + i) - lse) * weights[r]);
      row[targets[r]] = static_cast<T>(static_cast<float>(row[targets[r]]) - weights[r]);
    }
  });
}

// As FusedRows with ATen: any device and vocabulary.
Tensor EagerRows(Tensor& logits, const Tensor& targets, const Tensor& weights, bool with_grad) {
  Tensor log_probs = torch::log_softmax(logits.to(torch::kFloat), 1);
  Tensor nll = -log_probs.gather(1, targets.unsqueeze(1)).squeeze(1);
  if (with_grad) {
    Tensor grad = log_probs.exp_();
    grad.scatter_add_(1, targets.unsqueeze(1), torch::full({targets.size(0), 1}, -1.0, grad.options()));
    logits.copy_(grad.mul_(weights.unsqueeze(1)));
  }
  return nll;
}

#ifdef ELREA_CUDA
Tensor CudaRows(Tensor& logits, const Tensor& targets, const Tensor& weights, bool with_grad) {
  Tensor nll = torch::empty({logits.size(0)}, logits.options().dtype(torch::kFloat));
  const LaunchScope stream(logits);
  ELREA_DISPATCH_CUDA(logits.scalar_type(), "LossRows", {
    C10_CUDA_CHECK(cuda::LossRows<T>({.logits = CudaData<T>(logits),
                                      .targets = CudaData<int64_t>(targets),
                                      .weights = CudaData<float>(weights),
                                      .nll = CudaData<float>(nll),
                                      .rows = logits.size(0),
                                      .vocab = logits.size(1),
                                      .with_grad = with_grad},
                                     stream));
  });
  return nll;
}
#endif

Tensor ChunkLoss(Tensor& logits, const Tensor& targets, const Tensor& weights, bool with_grad) {
  int64_t vocab = logits.size(1);
#ifdef ELREA_CUDA
  if (logits.is_cuda()) return CudaRows(logits, targets, weights, with_grad);
#endif
  if (!logits.is_cpu() || vocab % kLanes != 0) return EagerRows(logits, targets, weights, with_grad);
  Tensor nll = torch::empty({logits.size(0)}, torch::kFloat);
  auto run = [&]<typename T>(T* data) {
    FusedRows(data, vocab, targets.data_ptr<int64_t>(), weights.data_ptr<float>(), nll.data_ptr<float>(),
              logits.size(0), with_grad);
  };
  if (logits.scalar_type() == torch::kFloat) {
    run(logits.data_ptr<float>());
  } else {
    run(logits.data_ptr<c10::BFloat16>());
  }
  return nll;
}

}  // namespace

Tensor TokenLoss(const Tensor& normed, const Tensor& head, double softcap, const Tensor& targets,
                 const Tensor& weights, Tensor* grad_normed) {
  int64_t n = normed.size(0);
  int64_t elements = normed.is_cuda() ? kCudaChunkElements : kChunkElements;
  int64_t chunk = std::clamp<int64_t>(elements / head.size(0), 1, std::max<int64_t>(n, 1));
  Tensor nll = torch::empty({n}, normed.options().dtype(torch::kFloat));
  if (grad_normed && !grad_normed->defined()) *grad_normed = torch::empty_like(normed);
  for (int64_t begin = 0; begin < n; begin += chunk) {
    int64_t rows = std::min(chunk, n - begin);
    Tensor logits = at::mm(normed.narrow(0, begin, rows), head.t());  // [rows, vocab] T
    Tensor bent;                                                      // tanh(logits / softcap), for its slope
    if (softcap > 0) logits = (bent = (logits / softcap).tanh_()) * softcap;
    nll.narrow(0, begin, rows).copy_(
        ChunkLoss(logits, targets.narrow(0, begin, rows), weights.narrow(0, begin, rows), grad_normed != nullptr));
    if (!grad_normed) continue;
    if (softcap > 0) logits.mul_(1 - bent.square());
    Tensor out = grad_normed->narrow(0, begin, rows);
    at::mm_out(out, logits, head);
  }
  return nll;
}

Tensor VocabularyLogits(const Tensor& normed, const Tensor& head, double softcap) {
  Tensor logits;
  if (CanStreamRows(normed, head)) {
    logits = torch::empty({normed.size(0), head.size(0)}, torch::kFloat);
    StreamRows(normed, head, logits);
  } else {
    logits = at::mm(normed, head.t()).to(torch::kFloat);
  }
  return softcap > 0 ? (logits / softcap).tanh_().mul_(softcap) : logits;
}

}  // namespace elrea
