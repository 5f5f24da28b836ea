// Matrices as bitsandbytes stores them in a Hugging Face checkpoint; their values are bit for bit its own.
//
//   4 bits (nf4, fp4)   X.weight [n / 2, 1] U8: two codes a byte, the first in the high half; X.weight.quant_map [16] F32;
//                       X.weight.absmax [n / blocksize] F32, or U8 when quantised again: then nested_quant_map [256] and
//                       nested_absmax F32, and the offset in the description X.weight.quant_state.bitsandbytes__nf4 (JSON)
//   8 bits              X.weight [out, in] I8, X.SCB [out] F32: w = code * SCB / 127
//
// Source: bitsandbytes' QuantState and Linear8bitLt.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/safetensors.h"
#include "model/matrix_codes.h"

namespace elrea {

struct BitsAndBytesMatrix {
  std::vector<int64_t> shape;           // of the matrix
  std::vector<std::string> companions;  // the other tensors that describe it
  int64_t bits;                         // 4 or 8
};

// The quantised matrices among a checkpoint's tensors, by name. kCorrupt naming `origin` and the tensor when the parts of
// one are missing or do not fit each other; kInvalidInput for kinds that are not known.
std::map<std::string, BitsAndBytesMatrix> FindBitsAndBytes(const std::map<std::string, TensorView>& tensors,
                                                           const std::string& origin);

// The matrix [out, in] in memory of its own. REQUIRES: found by FindBitsAndBytes in the same tensors.
std::shared_ptr<const MatrixCodes> ReadBitsAndBytes(const std::map<std::string, TensorView>& tensors,
                                                    const std::string& name, const BitsAndBytesMatrix& matrix,
                                                    const std::string& origin);

}  // namespace elrea
