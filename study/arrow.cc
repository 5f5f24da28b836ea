#include "study/arrow.h"

#include <ATen/ATen.h>

#include "lora/gate.h"

namespace elrea {

using torch::Tensor;

namespace {

// Of B A, from matrices of the rank's size: with A^T = Q R, the right singular vectors of B A are Q times
// those of B R^T. a [rank, in], b [out, rank] f32; [in] f32.
Tensor MainDirection(const Tensor& a, const Tensor& b) {
  const auto [q, r] = at::linalg_qr(a.t().to(torch::kDouble));
  const Tensor small = b.to(torch::kDouble).mm(r.t());
  const auto [values, vectors] = at::linalg_eigh(small.t().mm(small));
  if (values[-1].item<double>() <= 0) return torch::zeros({a.size(1)}, torch::kFloat);
  return q.mv(vectors.select(1, vectors.size(1) - 1)).to(torch::kFloat);
}

}  // namespace

Tensor ArrowRows(const AdapterLayout& layout, const Tensor& params, int64_t parts) {
  Tensor flat = torch::zeros({Gate::NumParams(layout, parts)}, torch::kFloat);
  const Gate gate(layout, parts, GateScore::kAbsolute, flat);
  const int64_t rank = layout.rank() / parts;
  for (int64_t layer = 0; layer < layout.num_layers(); ++layer) {
    for (int g = 0; g < kNumLinearGroups; ++g) {
      const auto id = static_cast<LinearGroup>(g);
      const auto slots = static_cast<int64_t>(layout.group(layer, id).slots.size());
      if (slots == 0) continue;
      Tensor rows = gate.Rows(flat, layer, id);
      for (int64_t s = 0; s < slots; ++s) {
        const Tensor a = layout.A(params, layer, id, static_cast<size_t>(s));
        const Tensor b = layout.B(params, layer, id, static_cast<size_t>(s));
        for (int64_t c = 0; c < parts; ++c) {
          rows[s * parts + c].copy_(MainDirection(a.narrow(0, c * rank, rank), b.narrow(1, c * rank, rank)));
        }
      }
    }
  }
  return flat;
}

}  // namespace elrea
