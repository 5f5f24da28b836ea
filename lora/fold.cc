#include "lora/fold.h"

#include <ATen/ATen.h>

#include <set>

#include "model/gguf_weights.h"
#include "model/tensor_table.h"

namespace elrea {

using torch::Tensor;

namespace {

// The matrices that hold a projection's outputs, in order.
std::vector<Tensor*> MatricesOf(LayerWeights& w, Projection p) {
  switch (p) {
    case Projection::kQ: return {&w.q};
    case Projection::kK: return {&w.k};
    case Projection::kV: return {&w.v};
    case Projection::kO: return {&w.o};
    case Projection::kGate: return {&w.gate};
    case Projection::kUp: return {&w.up};
    case Projection::kDown: return {&w.down};
    case Projection::kQkv: return {&w.q, &w.k, &w.v};
    default: return {&w.gate, &w.up};
  }
}

}  // namespace

std::map<std::string, Tensor> FoldAdapter(ModelWeights& weights, const Adapter& adapter, CheckpointFormat format) {
  const at::NoGradGuard no_grad;
  const AdapterLayout layout(weights.config, adapter.config);
  std::set<const Tensor*> changed;
  for (int64_t layer = 0; layer < layout.num_layers(); ++layer) {
    for (int g = 0; g < kNumLinearGroups; ++g) {
      const auto id = static_cast<LinearGroup>(g);
      const auto& slots = layout.group(layer, id).slots;
      for (size_t s = 0; s < slots.size(); ++s) {
        const Tensor update = at::mm(layout.B(adapter.params, layer, id, s), layout.A(adapter.params, layer, id, s));
        int64_t first = 0;
        for (Tensor* matrix : MatricesOf(weights.layers[static_cast<size_t>(layer)], slots[s].projection)) {
          // Not in place: the matrix may lie in the mapped checkpoint.
          *matrix = matrix->add(update.narrow(0, first, matrix->size(0)), adapter.config.scale());
          first += matrix->size(0);
          changed.insert(matrix);
        }
      }
    }
  }
  std::map<std::string, Tensor> result;
  for (const auto& [slot, tensor] : StoredTensors(ListTensors(weights))) {
    if (!changed.contains(slot.tensor)) continue;
    if (format == CheckpointFormat::kHuggingFace || slot.interleaved_heads == 0) {
      result[format == CheckpointFormat::kGguf ? slot.gguf_name : slot.hf_name] = tensor;
      continue;
    }
    result[slot.gguf_name] = torch::empty_like(tensor).index_copy_(
        0, GgufSourceRows(tensor.size(0), slot.interleaved_heads), tensor);
  }
  return result;
}

}  // namespace elrea
