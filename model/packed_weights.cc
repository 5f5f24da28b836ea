#include "model/packed_weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include "core/gguf.h"
#include "model/gguf_weights.h"
#include "model/tensor_table.h"

namespace elrea {

int64_t PackedLinear::num_tiles() const {
  int64_t total = 0;
  for (const PackedMatrix& part : parts) total += part.num_tiles();
  return total;
}

void PackedLinear::Multiply(const QuantizedRows& x, int64_t tile_begin, int64_t tile_end, float* y,
                            int64_t y_stride) const {
  int64_t first = 0;  // tile of the part at hand
  for (const PackedMatrix& part : parts) {
    const int64_t begin = std::max<int64_t>(0, tile_begin - first);
    const int64_t end = std::min(part.num_tiles(), tile_end - first);
    if (begin < end) part.Multiply(x, begin, end, y + first * PackedMatrix::kTile, y_stride);
    first += part.num_tiles();
  }
}

int64_t PackedWeights::num_bytes() const {
  int64_t total = 0;
  const auto add = [&](const PackedLinear& linear) {
    for (const PackedMatrix& part : linear.parts) total += part.num_bytes();
  };
  for (const PackedLayer& l : layers) {
    for (const PackedLinear* linear : {&l.qkv, &l.o, &l.gate_up, &l.down}) add(*linear);
  }
  add(head);
  return total;
}

namespace {

PackedMatrix Pack(const GgufFile& file, const TensorSlot& slot) {
  const GgufTensor& source = file.GetTensor(slot.gguf_name);
  const int64_t rows = slot.shape[0];
  const int64_t head_dim = slot.interleaved_heads > 0 ? rows / slot.interleaved_heads : 0;
  return {source.type, source.bytes, rows, slot.shape[1],
          [head_dim, first = slot.first_row](int64_t row) { return first + GgufSourceRow(row, head_dim); }};
}

// Empty when every matrix can be packed.
std::string FirstObstacle(const GgufFile& file, const std::vector<TensorSlot>& slots) {
  for (const TensorSlot& slot : slots) {
    if (slot.is_vector()) continue;
    const GgmlType type = file.GetTensor(slot.gguf_name).type;
    if (PackedMatrix::Serves(type, slot.shape[0], slot.shape[1])) continue;
    if (!PackedMatrix::Serves(GgmlType::kQ8_0, PackedMatrix::kTile, kActivationBlock)) {
      return "this processor lacks AVX-512 VNNI";
    }
    return fmt::format("{} {} is {}, and only quantised matrices of whole tiles can be packed",
                       slot.gguf_name, ShapeText(slot.shape), GgmlTypeName(static_cast<uint32_t>(type)));
  }
  return {};
}

}  // namespace

std::unique_ptr<PackedWeights> LoadPackedWeights(const std::filesystem::path& model, std::string& why_not) {
  if (std::filesystem::is_directory(model)) {
    why_not = model.string() + " is not a GGUF file";
    return nullptr;
  }
  const GgufFile file(model);
  ModelWeights names;  // no tensors, only the list of them
  names.config = ModelConfig::FromGguf(file);
  const std::vector<TensorSlot> slots = ListTensors(names);
  why_not = FirstObstacle(file, slots);
  if (!why_not.empty()) return nullptr;
  std::map<const torch::Tensor*, const TensorSlot*> slot_of;
  for (const TensorSlot& slot : slots) slot_of[slot.tensor] = &slot;
  const auto pack = [&](std::initializer_list<const torch::Tensor*> tensors) {
    PackedLinear linear;
    for (const torch::Tensor* tensor : tensors) linear.parts.push_back(Pack(file, *slot_of.at(tensor)));
    return linear;
  };
  auto packed = std::make_unique<PackedWeights>();
  for (const LayerWeights& l : names.layers) {
    packed->layers.push_back(
        {pack({&l.q, &l.k, &l.v}), pack({&l.o}), pack({&l.gate, &l.up}), pack({&l.down})});
  }
  packed->head = pack({names.config.tied_embeddings ? &names.embedding : &names.head});
  return packed;
}

}  // namespace elrea
