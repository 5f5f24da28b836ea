#include "model/testing_packed.h"

#include <cmath>

#include "model/tensor_table.h"
#include "model/testing.h"

namespace elrea {

ModelConfig SmallLlama() {
  ModelConfig c = TinyLlamaConfig();
  c.dim = 64;
  c.head_dim = 32;
  return c;
}

void WriteMixedGguf(const ModelConfig& config, const std::filesystem::path& path) {
  constexpr GgmlType kTypes[] = {GgmlType::kQ4_1, GgmlType::kQ8_0, GgmlType::kQ5_0, GgmlType::kQ5_1, GgmlType::kQ4_0};
  ModelWeights model = MakeTinyModel(config, 7);
  GgufBuilder gguf = MakeGguf(model);
  uint64_t seed = 0;
  for (const auto& [slot, tensor] : StoredTensors(ListTensors(model))) {
    if (slot.is_vector()) continue;
    const GgmlType type = kTypes[seed % 5];
    gguf.AddTensor(slot.gguf_name, type, slot.stored_shape(),
                   RandomBlocks(type, tensor.numel(), seed++, 1.7 / std::sqrt(slot.shape[1])));
  }
  gguf.Write(path);
}

}  // namespace elrea
