#include "lora/decode_adapter.h"

#include "core/error.h"

namespace elrea {

LowRankAdapter DecodeView(const LoraWeights& lora) {
  if (lora.gate() != nullptr) {
    throw Error(ErrorKind::kInternal, "the decode engine knows no gates; decode without packed weights");
  }
  LowRankAdapter view{lora.layout().rank(), lora.scale(), {}};
  view.layers.resize(static_cast<size_t>(lora.layout().num_layers()));
  for (int64_t layer = 0; layer < lora.layout().num_layers(); ++layer) {
    for (int g = 0; g < kNumLinearGroups; ++g) {
      const auto id = static_cast<LinearGroup>(g);
      const AdapterLayout::Group& slots = lora.layout().group(layer, id);
      if (slots.slots.empty()) continue;
      const LoraWeights::Group& weights = lora.group(layer, id);
      LowRankGroup& group = view.layers[layer][g];
      group.a = weights.a.data_ptr();
      for (size_t s = 0; s < slots.slots.size(); ++s) {
        group.slots.push_back({weights.b_t[s].data_ptr(), slots.slots[s].out_first, slots.slots[s].out});
      }
    }
  }
  return view;
}

}  // namespace elrea
