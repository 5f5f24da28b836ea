#include "model/gguf_weights.h"

#include <fmt/format.h>
#include <torch/torch.h>

#include <algorithm>
#include <cstring>

#include "core/error.h"
#include "core/gguf.h"
#include "core/memory_pages.h"
#include "model/codes_file.h"
#include "model/dequantize.h"
#include "model/ggml_codes.h"
#include "model/quantize.h"
#include "model/tensor_table.h"

namespace elrea {
namespace {

// Some rows of one tensor: a thread's unit of work.
struct RowRange {
  const GgufTensor* source;
  torch::Tensor* out;  // f32 or bf16
  int64_t cols;        // elements of a row; a bias has rows of one
  int64_t first_row;   // of the slot in the source
  int64_t head_dim;    // of interleaved rows, else 0
  int64_t begin, end;
};

void FillRows(const RowRange& range, std::vector<float>& row_values) {
  const GgufTensor& source = *range.source;
  const int64_t cols = range.cols;
  const size_t num_cols = static_cast<size_t>(cols);
  const size_t row_bytes =
      static_cast<size_t>(cols / GgmlBlockElements(source.type) * GgmlBlockBytes(source.type));
  const bool to_bf16 = range.out->scalar_type() == torch::kBFloat16;
  for (int64_t row = range.begin; row < range.end; ++row) {
    const auto blocks =
        source.bytes.subspan(static_cast<size_t>(range.first_row + GgufSourceRow(row, range.head_dim)) * row_bytes,
                             row_bytes);
    if (to_bf16) {
      row_values.resize(num_cols);
      Dequantize(source.type, blocks, row_values);
      RoundToBFloat16(row_values, {static_cast<uint16_t*>(range.out->data_ptr()) + row * cols, num_cols});
    } else {
      Dequantize(source.type, blocks, {range.out->data_ptr<float>() + row * cols, num_cols});
    }
  }
  if (range.head_dim > 0) return;  // its rows lie between those of others
  DropMappedPages(source.bytes.subspan(static_cast<size_t>(range.first_row + range.begin) * row_bytes,
                                       static_cast<size_t>(range.end - range.begin) * row_bytes));
}

// Dequantises every slot. One parallel loop over all tensors' rows rather than one per tensor: hundreds of
// barriers cost many times the work itself on a machine whose cores are busy with something else.
void FillTensors(const GgufFile& file, const std::vector<TensorSlot>& slots) {
  constexpr int64_t kRangeElements = int64_t{1} << 16;  // a range's values, 256 KiB, stay in the cache
  std::vector<RowRange> ranges;
  for (const TensorSlot& slot : slots) {
    const int64_t rows = slot.is_norm ? 1 : slot.shape[0];
    const int64_t cols = slot.is_bias ? 1 : slot.shape.back();
    const int64_t head_dim = slot.interleaved_heads > 0 ? rows / slot.interleaved_heads : 0;
    const int64_t step = std::max<int64_t>(1, kRangeElements / cols);
    for (int64_t begin = 0; begin < rows; begin += step) {
      ranges.push_back(
          {&file.GetTensor(slot.gguf_name), slot.tensor, cols, slot.first_row, head_dim, begin, std::min(rows, begin + step)});
    }
  }
#pragma omp parallel
  {
    std::vector<float> row_values;
#pragma omp for schedule(dynamic)
    for (size_t i = 0; i < ranges.size(); ++i) FillRows(ranges[i], row_values);
  }
}

// Rotary factors are part of the configuration (config_gguf.cc); those for longer texts than it serves are not read.
bool IsRopeTensor(const std::string& name) {
  return name == "rope_freqs.weight" || name == "rope_factors_short.weight" || name == "rope_factors_long.weight";
}

void Check(const GgufFile& file, const std::vector<TensorSlot>& slots) {
  std::map<std::string, std::vector<int64_t>> shapes;
  for (const auto& [name, tensor] : file.tensors()) shapes.emplace(name, tensor.shape);
  CheckTensors(slots, &TensorSlot::gguf_name, shapes, IsRopeTensor, file.path().string());
  for (const TensorSlot& slot : slots) {
    const GgmlType type = file.GetTensor(slot.gguf_name).type;
    if (!slot.is_bias || GgmlBlockElements(type) == 1) continue;
    throw Error(ErrorKind::kInvalidInput,
                fmt::format("{}: {} is {}; only F32, F16 and BF16 biases are supported", file.path().string(),
                            slot.gguf_name, GgmlTypeName(static_cast<uint32_t>(type))));
  }
}

// The slot's blocks in its own order of rows: in the mapped file itself where that is the file's order.
std::shared_ptr<const MatrixCodes> KeptBlocks(const std::shared_ptr<const GgufFile>& file, const TensorSlot& slot) {
  const GgufTensor& source = file->GetTensor(slot.gguf_name);
  const int64_t rows = slot.shape[0], cols = slot.shape[1];
  const int64_t row_bytes = cols / static_cast<int64_t>(GgmlBlockElements(source.type)) *
                            static_cast<int64_t>(GgmlBlockBytes(source.type));
  const auto blocks = [&](int64_t first, int64_t count) {
    return source.bytes.subspan(static_cast<size_t>(first * row_bytes), static_cast<size_t>(count * row_bytes));
  };
  if (slot.interleaved_heads == 0) {
    const torch::Tensor bytes = MappedTensor(blocks(slot.first_row, rows), {rows, row_bytes}, torch::kByte, file);
    return std::make_shared<const GgmlCodes>(source.type, bytes, cols);
  }
  const int64_t head_dim = rows / slot.interleaved_heads;
  torch::Tensor bytes = torch::empty({rows, row_bytes}, torch::kByte);
  for (int64_t row = 0; row < rows; ++row) {
    const auto from = blocks(slot.first_row + GgufSourceRow(row, head_dim), 1);
    std::memcpy(bytes.data_ptr<uint8_t>() + row * row_bytes, from.data(), from.size());
  }
  DropMappedPages(source.bytes);
  return std::make_shared<const GgmlCodes>(source.type, bytes, cols);
}

// False where the slot is to be dense.
bool FillCodes(const std::shared_ptr<const GgufFile>& file, const TensorSlot& slot, WeightStorage storage, const CodesFile* codes) {
  if (slot.codes == nullptr || storage == WeightStorage::kDense) return false;
  if (codes != nullptr) {
    *slot.codes = codes->Rows(slot);
    return true;
  }
  if (storage == WeightStorage::kKeep) {
    if (!GgmlCodes::Serves(file->GetTensor(slot.gguf_name).type, slot.shape[1])) return false;
    *slot.codes = {KeptBlocks(file, slot), 0, slot.shape[0]};
    return true;
  }
  TensorSlot whole = slot;
  torch::Tensor values = AllocateSlot(slot, torch::kFloat);
  whole.tensor = &values;
  FillTensors(*file, {whole});
  *slot.codes = {QuantizeFor(storage, values, slot.gguf_name), 0, slot.shape[0]};
  return true;
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

// Pairs (j, j + head_dim/2) lie side by side: file row 2j + p of a head is row p * head_dim/2 + j of Hugging Face's
// half-split order.
int64_t GgufSourceRow(int64_t row, int64_t head_dim) {
  if (head_dim == 0) return row;
  const int64_t in_head = row % head_dim, half = head_dim / 2;
  return row - in_head + 2 * (in_head % half) + in_head / half;
}

torch::Tensor GgufSourceRows(int64_t rows, int64_t heads) {
  std::vector<int64_t> order;
  for (int64_t row = 0; row < rows; ++row) order.push_back(GgufSourceRow(row, heads > 0 ? rows / heads : 0));
  return torch::tensor(order, torch::kLong);
}

ModelWeights LoadGgufWeights(const std::filesystem::path& path, torch::Dtype dtype, WeightStorage storage,
                             const CodesFile* codes) {
  const auto file = std::make_shared<const GgufFile>(path);
  ModelWeights weights;
  weights.config = ModelConfig::FromGguf(*file);
  const std::vector<TensorSlot> slots = ListTensors(weights);
  Check(*file, slots);
  weights.fingerprint = FileFingerprint(*file);
  std::vector<TensorSlot> dense;
  for (const TensorSlot& slot : slots) {
    if (!FillCodes(file, slot, storage, codes)) dense.push_back(slot);
  }
  for (const TensorSlot& slot : dense) *slot.tensor = AllocateSlot(slot, dtype);
  FillTensors(*file, dense);
  if (weights.config.tied_embeddings) weights.head = weights.embedding;
  weights.origin = path.string();
  return weights;
}

}  // namespace elrea
