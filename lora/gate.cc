#include "lora/gate.h"

#include <ATen/ATen.h>

#include <cmath>

namespace elrea {

using torch::Tensor;

namespace {

int64_t GroupParams(const AdapterLayout::Group& group, int64_t parts) {
  return static_cast<int64_t>(group.slots.size()) * parts * group.in;
}

}  // namespace

int64_t Gate::NumParams(const AdapterLayout& layout, int64_t parts) {
  int64_t count = 0;
  for (int64_t layer = 0; layer < layout.num_layers(); ++layer) {
    for (int g = 0; g < kNumLinearGroups; ++g)
      count += GroupParams(layout.group(layer, static_cast<LinearGroup>(g)), parts);
  }
  return count;
}

Gate::Gate(const AdapterLayout& layout, int64_t parts, GateScore score, Tensor params)
    : layout_(layout),
      parts_(parts),
      score_(score),
      params_(std::move(params)),
      offsets_(layout.num_layers()) {
  int64_t offset = 0;
  for (int64_t layer = 0; layer < layout.num_layers(); ++layer) {
    for (int g = 0; g < kNumLinearGroups; ++g) {
      offsets_[layer][g] = offset;
      offset += GroupParams(layout.group(layer, static_cast<LinearGroup>(g)), parts);
    }
  }
}

Tensor Gate::Rows(const Tensor& flat, int64_t layer, LinearGroup id) const {
  const AdapterLayout::Group& group = layout_.group(layer, id);
  const int64_t rows = static_cast<int64_t>(group.slots.size()) * parts_;
  return flat.narrow(0, offsets_[layer][static_cast<int>(id)], rows * group.in).view({rows, group.in});
}

Tensor Gate::Shares(int64_t layer, LinearGroup id, const Tensor& x) const {
  const Tensor rows = Rows(params_, layer, id).to(x.device());
  Tensor scores = at::mm(x.to(torch::kFloat), rows.t());
  if (score_ == GateScore::kAbsolute) {
    scores.abs_();
  } else {
    scores.div_(std::sqrt(static_cast<double>(rows.size(1))));
  }
  return torch::softmax(scores.view({x.size(0), -1, parts_}), 2);
}

void Gate::Scale(const Tensor& shares, Tensor& h) const {
  h.view({h.size(0), shares.size(1), parts_, -1}).mul_(shares.unsqueeze(3));
}

}  // namespace elrea
