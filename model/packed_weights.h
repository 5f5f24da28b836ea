// The matrices of a GGUF file in their own codes, for decoding: a copy beside the bf16 matrices that prompts
// are read with. See packed_matrix.h for the layout and decode_engine.h for the use.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "model/packed_matrix.h"

namespace elrea {

// Matrices with a common input, one after the other; their types may differ.
struct PackedLinear {
  std::vector<PackedMatrix> parts;

  int64_t num_tiles() const;
  // As PackedMatrix::Multiply; tiles are counted through the parts.
  void Multiply(const QuantizedRows& x, int64_t tile_begin, int64_t tile_end, float* y,
                int64_t y_stride) const;
};

struct PackedLayer {
  PackedLinear qkv, o, gate_up, down;  // [out, in] as in LayerWeights
};

// Const-shareable.
struct PackedWeights {
  std::vector<PackedLayer> layers;
  PackedLinear head;  // [vocab, dim], one part

  int64_t num_bytes() const;
};

// Null, and the reason in `why_not`, when the file is no GGUF file, a matrix of it is not quantised or not in
// whole tiles, or the processor lacks the instructions. Errors as of LoadModelWeights.
std::unique_ptr<PackedWeights> LoadPackedWeights(const std::filesystem::path& model, std::string& why_not);

}  // namespace elrea
