// Rows of a GGUF file's blocks, as they are in the file.
#pragma once

#include "core/gguf.h"
#include "model/matrix_codes.h"

namespace elrea {

class GgmlCodes : public HostMatrixCodes {
 public:
  // A quantised type of which a row is a whole number of blocks.
  static bool Serves(GgmlType type, int64_t cols);

  // bytes [rows, bytes of a row] u8, one row's blocks after the other. REQUIRES: Serves.
  GgmlCodes(GgmlType type, torch::Tensor bytes, int64_t cols);

  int64_t num_bytes() const override { return bytes_.numel(); }
  void ReadRows(int64_t begin, int64_t end, float* values) const override;
  PartCodes InParts() const override;

 private:
  GgmlType type_;
  torch::Tensor bytes_;
};

}  // namespace elrea
