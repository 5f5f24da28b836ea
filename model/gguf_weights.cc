#include "model/gguf_weights.h"

#include <torch/torch.h>

#include "core/gguf.h"
#include "model/dequantize.h"
#include "model/tensor_table.h"

namespace elrea {
namespace {

// The file's row that becomes row `row`. Converters to GGUF store the rows of a q or k head interleaved,
// pairs (j, j + head_dim/2) side by side: file row 2j + p of a head is row p * head_dim/2 + j of Hugging
// Face's half-split order.
int64_t SourceRow(int64_t row, int64_t head_dim) {
  if (head_dim == 0) return row;
  const int64_t in_head = row % head_dim, half = head_dim / 2;
  return row - in_head + 2 * (in_head % half) + in_head / half;
}

// Dequantises into `out` [rows, cols] or [cols], f32 or bf16; rows are spread over the threads.
void FillTensor(const GgufTensor& source, int64_t interleaved_heads, torch::Tensor& out) {
  const int64_t cols = source.shape.back();
  const int64_t rows = cols == 0 ? 0 : out.numel() / cols;
  const int64_t head_dim = interleaved_heads > 0 ? rows / interleaved_heads : 0;
  const size_t row_bytes =
      static_cast<size_t>(cols / GgmlBlockElements(source.type) * GgmlBlockBytes(source.type));
  const bool to_bf16 = out.scalar_type() == torch::kBFloat16;
  float* floats = to_bf16 ? nullptr : out.data_ptr<float>();
  uint16_t* halves = to_bf16 ? static_cast<uint16_t*>(out.data_ptr()) : nullptr;
#pragma omp parallel
  {
    std::vector<float> row_values(to_bf16 ? static_cast<size_t>(cols) : 0);
#pragma omp for schedule(static)
    for (int64_t row = 0; row < rows; ++row) {
      const size_t source_row = static_cast<size_t>(SourceRow(row, head_dim));
      const auto blocks = source.bytes.subspan(source_row * row_bytes, row_bytes);
      if (to_bf16) {
        Dequantize(source.type, blocks, row_values);
        RoundToBFloat16(row_values, {halves + row * cols, static_cast<size_t>(cols)});
      } else {
        Dequantize(source.type, blocks, {floats + row * cols, static_cast<size_t>(cols)});
      }
    }
  }
}

void Check(const GgufFile& file, const std::vector<TensorSlot>& slots) {
  std::map<std::string, std::vector<int64_t>> shapes;
  for (const auto& [name, tensor] : file.tensors()) shapes.emplace(name, tensor.shape);
  CheckTensors(
      slots, &TensorSlot::gguf_name, shapes, [](const std::string&) { return false; }, file.path().string());
}

std::string FileFingerprint(const GgufFile& file) {
  std::map<std::string, FingerprintEntry> entries;
  for (const auto& [name, tensor] : file.tensors()) {
    entries.emplace(
        name, FingerprintEntry{GgmlTypeName(static_cast<uint32_t>(tensor.type)), tensor.shape, tensor.bytes});
  }
  return Fingerprint(entries);
}

}  // namespace

ModelWeights LoadGgufWeights(const std::filesystem::path& path, torch::Dtype dtype) {
  const GgufFile file(path);
  ModelWeights weights;
  weights.config = ModelConfig::FromGguf(file);
  const std::vector<TensorSlot> slots = ListTensors(weights);
  Check(file, slots);
  weights.fingerprint = FileFingerprint(file);
  for (const TensorSlot& slot : slots) {
    *slot.tensor = AllocateSlot(slot, dtype);
    FillTensor(file.GetTensor(slot.gguf_name), slot.interleaved_heads, *slot.tensor);
  }
  if (weights.config.tied_embeddings) weights.head = weights.embedding;
  weights.origin = path.string();
  return weights;
}

}  // namespace elrea
