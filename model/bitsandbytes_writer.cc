#include "model/bitsandbytes_writer.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "core/json.h"

namespace elrea {

using torch::Tensor;

void FileTensors::Add(const std::string& name, DType dtype, std::vector<int64_t> shape, const Tensor& tensor) {
  kept_.push_back(tensor.contiguous());
  tensors_.push_back(
      {name, dtype, std::move(shape), {static_cast<const std::byte*>(kept_.back().data_ptr()), kept_.back().nbytes()}});
}

void FileTensors::AddText(const std::string& name, const std::string& text) {
  Tensor bytes = torch::empty({static_cast<int64_t>(text.size())}, torch::kByte);
  std::copy(text.begin(), text.end(), bytes.data_ptr<uint8_t>());
  Add(name, DType::kU8, {bytes.numel()}, bytes);
}

void FileTensors::Keep(const std::string& name, const TensorView& view) {
  tensors_.push_back({name, view.dtype, view.shape, view.bytes});
}

// As bitsandbytes' QuantState.as_dict(packed=True) names and stores its parts.
void AddFourBits(FileTensors& file, const std::string& name, const std::string& dtype, const FourBitCodes& codes) {
  const FourBitParts& p = codes.parts();
  Json state = {{"quant_type", "nf4"},
                {"blocksize", p.block},
                {"dtype", dtype},
                {"shape", std::vector<int64_t>{codes.rows(), codes.cols()}}};
  file.Add(name, DType::kU8, {p.codes.numel(), 1}, p.codes);
  file.Add(name + ".quant_map", DType::kF32, {16}, torch::tensor(std::vector<float>(p.map.begin(), p.map.end())));
  file.Add(name + ".absmax", p.nested_block > 0 ? DType::kU8 : DType::kF32, {p.absmax.numel()}, p.absmax);
  if (p.nested_block > 0) {
    state["nested_blocksize"] = p.nested_block;
    state["nested_dtype"] = "float32";
    state["nested_offset"] = p.offset;
    file.Add(name + ".nested_absmax", DType::kF32, {p.nested_absmax.numel()}, p.nested_absmax);
    file.Add(name + ".nested_quant_map", DType::kF32, {p.nested_map.numel()}, p.nested_map);
  }
  file.AddText(name + ".quant_state.bitsandbytes__nf4", JsonLine(state));
}

void AddEightBits(FileTensors& file, const std::string& name, const EightBitCodes& codes) {
  const std::string stem = name.substr(0, name.size() - std::string("weight").size());
  file.Add(name, DType::kI8, {codes.rows(), codes.cols()}, codes.codes());
  file.Add(stem + "SCB", DType::kF32, {codes.scales().numel()}, codes.scales());
  file.Add(stem + "weight_format", DType::kU8, {}, torch::zeros({}, torch::kByte));  // rows
}

}  // namespace elrea
