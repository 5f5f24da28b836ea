#include "model/token_loss.h"

#include <ATen/ATen.h>
#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

#include "model/likely_columns.h"
#include "model/linear.h"
#include "model/padded_rows.h"
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

// One row of logits becomes weight * (softmax - onehot); top[i], unless null, the larger of itself and i's probability.
template <typename T>
void GradientRow(T* row, int64_t vocab, float lse, int64_t target, float weight, float* top) {
  for (int64_t i = 0; i < vocab; i += kLanes) {
    const Vec p = simd::Exp(Load(row + i) - lse);
    Store(row + i, p * weight);
    if (top) Store(top + i, p > Load(top + i) ? p : Load(top + i));
  }
  row[target] = static_cast<T>(static_cast<float>(row[target]) - weight);
}

// nll of each row; with `with_grad` the logits become weight * (softmax - onehot), and `likely`, unless null, learns the
// probabilities.
template <typename T>
void FusedRows(T* logits, int64_t vocab, const int64_t* targets, const float* weights, float* nll, int64_t rows,
               bool with_grad, LikelyColumns* likely) {
  at::parallel_for(0, rows, 1, [&](int64_t begin, int64_t end) {
    std::vector<float> top(likely ? vocab : 0);
    for (int64_t r = begin; r < end; ++r) {
      T* row = logits + r * vocab;
      float lse = LogSumExp(row, vocab);
      nll[r] = lse - static_cast<float>(row[targets[r]]);
      if (with_grad) GradientRow(row, vocab, lse, targets[r], weights[r], likely ? top.data() : nullptr);
    }
    if (likely) likely->Merge(top);
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

bool HasFusedRows(const Tensor& logits) { return logits.is_cpu() && logits.size(1) % kLanes == 0; }

// nll of the chunk; with `with_grad` the logits become their gradient, and `likely`, if any, learns the probabilities.
Tensor ChunkLoss(Tensor& logits, const LossTargets& t, bool with_grad, LikelyColumns* likely) {
#ifdef ELREA_CUDA
  if (logits.is_cuda()) return CudaRows(logits, t.targets, t.weights, with_grad);
#endif
  if (!HasFusedRows(logits)) return EagerRows(logits, t.targets, t.weights, with_grad);
  if (likely) likely->Begin();
  Tensor nll = torch::empty({logits.size(0)}, torch::kFloat);
  auto run = [&]<typename T>(T* data) {
    FusedRows(data, logits.size(1), t.targets.data_ptr<int64_t>(), t.weights.data_ptr<float>(), nll.data_ptr<float>(),
              logits.size(0), with_grad, likely);
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
                 const Tensor& weights, Tensor* grad_normed, VocabularyGradient how) {
  const int64_t n = normed.size(0), vocab = head.size(0);
  const int64_t elements = normed.is_cuda() ? kCudaChunkElements : kChunkElements;
  const int64_t chunk = std::clamp<int64_t>(WholeRows(elements / vocab), 1, std::max<int64_t>(n, 1));
  Tensor nll = torch::empty({n}, normed.options().dtype(torch::kFloat));
  Tensor buffer = torch::empty({PaddedRows(std::min(chunk, n)), vocab}, normed.options());  // for the logits of each chunk
  std::optional<LikelyColumns> likely;
  const bool can_leave_out = grad_normed && HasFusedRows(buffer) && buffer.scalar_type() == torch::kBFloat16;
  if (how == VocabularyGradient::kLikely && can_leave_out) likely.emplace(head);
  if (grad_normed && !grad_normed->defined()) *grad_normed = torch::empty_like(normed);
  for (int64_t begin = 0; begin < n; begin += chunk) {
    const int64_t rows = std::min(chunk, n - begin);
    const LossTargets part = {{}, targets.narrow(0, begin, rows), weights.narrow(0, begin, rows)};
    Tensor logits = MultiplyRowsInto(normed.narrow(0, begin, rows), head.t(), buffer);
    Tensor bent;  // tanh(logits / softcap), for its slope
    if (softcap > 0) logits = (bent = (logits / softcap).tanh_()) * softcap;
    nll.narrow(0, begin, rows).copy_(ChunkLoss(logits, part, grad_normed != nullptr, likely ? &*likely : nullptr));
    if (!grad_normed) continue;
    if (softcap > 0) logits.mul_(1 - bent.square());
    Tensor out = grad_normed->narrow(0, begin, rows);
    if (likely) {
      likely->Multiply(logits, part.targets, out);
    } else {
      out.copy_(MultiplyRows(logits, head));
    }
  }
  return nll;
}

Tensor VocabularyLogits(const Tensor& normed, const Tensor& head, double softcap) {
  Tensor logits;
  if (CanStreamRows(normed, head)) {
    logits = torch::empty({normed.size(0), head.size(0)}, torch::kFloat);
    StreamRows(normed, head, logits);
  } else {
    logits = MultiplyRows(normed, head.t()).to(torch::kFloat);
  }
  return softcap > 0 ? (logits / softcap).tanh_().mul_(softcap) : logits;
}

}  // namespace elrea
