// Matrices in codes as tensors of a safetensors file, named and stored as bitsandbytes does (bitsandbytes.h).
#pragma once

#include <list>
#include <string>
#include <vector>

#include "core/safetensors.h"
#include "model/bitsandbytes_codes.h"

namespace elrea {

// Tensors of one output file; what they view is kept alive with them.
class FileTensors {
 public:
  void Add(const std::string& name, DType dtype, std::vector<int64_t> shape, const torch::Tensor& tensor);
  void AddText(const std::string& name, const std::string& text);
  // As it is in another file, which must stay open.
  void Keep(const std::string& name, const TensorView& view);
  const std::vector<NamedTensor>& tensors() const { return tensors_; }

 private:
  std::list<torch::Tensor> kept_;
  std::vector<NamedTensor> tensors_;
};

// name: "....weight". dtype: what the matrix was stored in, by Python's name.
void AddFourBits(FileTensors& file, const std::string& name, const std::string& dtype, const FourBitCodes& codes);
void AddEightBits(FileTensors& file, const std::string& name, const EightBitCodes& codes);

}  // namespace elrea
