// One frozen matrix in its GGUF codes, laid out for products with a few rows of activations: decoding reads 5
// bits a weight of Q4_1 instead of 16. Nothing is rounded: value = scale * (code - zero point) + minimum, as
// in the file.
//
// Sixteen outputs are one tile, in the lanes of a vector; a tile is a run of cells of 32 inputs each:
//   codes    groups of four inputs; of a group, 16 x 4 bytes [output, input]. 4-bit codes: two groups share
//   64 bytes,
//            the even one in the low nibbles
//   scales   [32 / part, 16] f16 or f32
//   minima   [32 / part, 16] likewise, where the type has them
// so that a product streams its cells in order and sums over inputs without ever adding across lanes.
#pragma once

#include <torch/types.h>

#include <functional>
#include <span>

#include "core/gguf.h"
#include "model/dequantize.h"
#include "model/quantized_rows.h"

namespace elrea {

// Const-shareable.
class PackedMatrix {
 public:
  static constexpr int64_t kTile = 16;  // outputs

  // Whether this processor has the instructions and the layout serves the matrix: a quantised type, whole
  // tiles.
  static bool Serves(GgmlType type, int64_t out, int64_t in);

  // `blocks`: the file's rows [out, in]; row r of the result is the file's row source_row(r). REQUIRES:
  // Serves.
  PackedMatrix(GgmlType type, std::span<const std::byte> blocks, int64_t out, int64_t in,
               const std::function<int64_t(int64_t)>& source_row);

  int64_t out() const { return out_; }
  int64_t in() const { return in_; }
  int64_t num_tiles() const { return out_ / kTile; }
  int64_t num_bytes() const { return bytes_.numel(); }

  // values [in] f32 of one row, bit for bit the dequantised ones.
  void ReadRow(int64_t row, float* values) const;

  // y[r * y_stride + o] = x_r . row o, for outputs of tiles [tile_begin, tile_end) and all rows of x. A
  // row's result depends neither on the other rows - but for the reference of a difference - nor on the
  // range, bit for bit.
  void Multiply(const QuantizedRows& x, int64_t tile_begin, int64_t tile_end, float* y,
                int64_t y_stride) const;

 private:
  uint8_t* cell(int64_t tile, int64_t block) const {
    return bytes_.data_ptr<uint8_t>() + (tile * (in_ / kActivationBlock) + block) * cell_bytes_;
  }
  void PackTile(GgmlType type, std::span<const std::byte> blocks, int64_t tile,
                const std::function<int64_t(int64_t)>& source_row);

  CodeFormat format_;
  int64_t out_, in_, cell_bytes_;
  torch::Tensor bytes_;  // [tiles, in / 32, cell_bytes] u8
};

}  // namespace elrea
