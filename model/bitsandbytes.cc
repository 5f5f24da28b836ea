#include "model/bitsandbytes.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "core/error.h"
#include "core/json.h"
#include "model/bitsandbytes_codes.h"

namespace elrea {

using torch::Tensor;
using Tensors = std::map<std::string, TensorView>;

namespace {

constexpr const char* kStates[] = {".quant_state.bitsandbytes__nf4", ".quant_state.bitsandbytes__fp4"};

[[noreturn]] void ThrowCorrupt(const std::string& origin, const std::string& name, const std::string& fault) {
  throw Error(ErrorKind::kCorrupt, fmt::format("{}: {} {}; take the checkpoint again", origin, name, fault));
}

const TensorView& Part(const Tensors& tensors, const std::string& name, DType dtype, int64_t elements,
                       const std::string& origin) {
  const auto it = tensors.find(name);
  if (it == tensors.end()) ThrowCorrupt(origin, name, "is missing beside the quantised matrix");
  const auto count = static_cast<int64_t>(it->second.bytes.size() / DTypeBytes(it->second.dtype));
  if (it->second.dtype != dtype || count != elements) {
    ThrowCorrupt(origin, name, fmt::format("has {} elements of type {}, expected {} of {}", count,
                                           DTypeName(it->second.dtype), elements, DTypeName(dtype)));
  }
  return it->second;
}

std::vector<float> Floats(const TensorView& view) {
  std::vector<float> values(view.bytes.size() / sizeof(float));
  std::memcpy(values.data(), view.bytes.data(), values.size() * sizeof(float));
  return values;
}

// The JSON beside a 4-bit matrix.
struct FourBitState {
  std::vector<int64_t> shape;
  int64_t elements = 1, block = 0, nested_block = 0;  // nested_block 0: absmax is not quantised
  double offset = 0;
  int64_t num_blocks() const { return (elements + block - 1) / block; }
};

std::string StateName(const Tensors& tensors, const std::string& name) {
  for (const char* suffix : kStates) {
    if (tensors.contains(name + suffix)) return name + suffix;
  }
  return "";
}

FourBitState ReadState(const Tensors& tensors, const std::string& name, const std::string& origin) {
  const std::string place = fmt::format("{}, {}", origin, name);
  const TensorView& view = tensors.at(name);
  const Json json = ParseJson({reinterpret_cast<const char*>(view.bytes.data()), view.bytes.size()}, place);
  FourBitState state;
  state.shape = JsonField<std::vector<int64_t>>(json, "shape", place);
  state.block = JsonField<int64_t>(json, "blocksize", place);
  state.nested_block = JsonFieldOr<int64_t>(json, "nested_blocksize", 0, place);
  state.offset = JsonFieldOr<double>(json, "nested_offset", 0, place);
  for (const int64_t size : state.shape) {
    if (size < 1 || __builtin_mul_overflow(state.elements, size, &state.elements)) state.elements = -1;
    if (state.elements < 1) break;
  }
  constexpr int64_t kMostNested = 1 << 16;
  constexpr int64_t kMostElements = std::numeric_limits<int64_t>::max() / 2;
  if (state.shape.size() != 2 || state.elements < 1 || state.elements > kMostElements || state.block < 1 ||
      state.nested_block < 0 || state.nested_block > kMostNested) {
    ThrowCorrupt(origin, name, "describes no matrix");
  }
  return state;
}

BitsAndBytesMatrix FindFourBits(const Tensors& tensors, const std::string& name, const std::string& state_name,
                                const std::string& origin) {
  const FourBitState state = ReadState(tensors, state_name, origin);
  BitsAndBytesMatrix matrix{state.shape, {state_name, name + ".quant_map", name + ".absmax"}, 4};
  Part(tensors, name, DType::kU8, (state.elements + 1) / 2, origin);
  Part(tensors, name + ".quant_map", DType::kF32, 16, origin);
  Part(tensors, name + ".absmax", state.nested_block > 0 ? DType::kU8 : DType::kF32, state.num_blocks(), origin);
  if (state.nested_block > 0) {
    const int64_t nested = (state.num_blocks() + state.nested_block - 1) / state.nested_block;
    Part(tensors, name + ".nested_absmax", DType::kF32, nested, origin);
    Part(tensors, name + ".nested_quant_map", DType::kF32, 256, origin);
    matrix.companions.insert(matrix.companions.end(), {name + ".nested_absmax", name + ".nested_quant_map"});
  }
  return matrix;
}

// "model.layers.0.mlp.up_proj.SCB" of "....weight".
std::string Beside(const std::string& name, const char* part) {
  return name.substr(0, name.size() - std::string("weight").size()) + part;
}

BitsAndBytesMatrix FindEightBits(const Tensors& tensors, const std::string& name, const std::string& origin) {
  const TensorView& codes = tensors.at(name);
  if (codes.dtype != DType::kI8 || codes.shape.size() != 2) ThrowCorrupt(origin, name, "is no I8 matrix beside its SCB");
  BitsAndBytesMatrix matrix{codes.shape, {Beside(name, "SCB")}, 8};
  Part(tensors, Beside(name, "SCB"), DType::kF32, codes.shape[0], origin);
  const std::string format = Beside(name, "weight_format");
  if (tensors.contains(format)) {
    matrix.companions.push_back(format);
    if (Part(tensors, format, DType::kU8, 1, origin).bytes[0] != std::byte{0}) {
      throw Error(ErrorKind::kInvalidInput,
                  fmt::format("{}: {} is not the row order; save the model again with a current bitsandbytes", origin,
                              format));
    }
  }
  return matrix;
}

// A copy of a tensor's bytes.
Tensor Copy(const TensorView& view, torch::Dtype dtype) {
  const auto count = static_cast<int64_t>(view.bytes.size() / DTypeBytes(view.dtype));
  Tensor copy = torch::empty({count}, torch::dtype(dtype));
  std::memcpy(copy.data_ptr(), view.bytes.data(), view.bytes.size());
  return copy;
}

std::shared_ptr<const MatrixCodes> ReadFourBits(const Tensors& tensors, const std::string& name,
                                                const FourBitState& state) {
  FourBitParts parts;
  parts.block = state.block;
  parts.nested_block = state.nested_block;
  std::ranges::copy(Floats(tensors.at(name + ".quant_map")), parts.map.begin());
  parts.codes = Copy(tensors.at(name), torch::kByte);
  parts.absmax = Copy(tensors.at(name + ".absmax"), state.nested_block > 0 ? torch::kByte : torch::kFloat);
  if (state.nested_block > 0) {
    parts.nested_map = Copy(tensors.at(name + ".nested_quant_map"), torch::kFloat);
    parts.nested_absmax = Copy(tensors.at(name + ".nested_absmax"), torch::kFloat);
    parts.offset = static_cast<float>(state.offset);
  }
  return std::make_shared<const FourBitCodes>(state.shape[0], state.shape[1], std::move(parts));
}

}  // namespace

std::map<std::string, BitsAndBytesMatrix> FindBitsAndBytes(const Tensors& tensors, const std::string& origin) {
  std::map<std::string, BitsAndBytesMatrix> found;
  for (const auto& [name, view] : tensors) {
    if (!name.ends_with(".weight")) continue;
    const std::string state = StateName(tensors, name);
    if (!state.empty()) {
      found.emplace(name, FindFourBits(tensors, name, state, origin));
    } else if (tensors.contains(Beside(name, "SCB"))) {
      found.emplace(name, FindEightBits(tensors, name, origin));
    }
  }
  return found;
}

std::shared_ptr<const MatrixCodes> ReadBitsAndBytes(const Tensors& tensors, const std::string& name,
                                                    const BitsAndBytesMatrix& matrix, const std::string& origin) {
  if (matrix.bits == 4) return ReadFourBits(tensors, name, ReadState(tensors, StateName(tensors, name), origin));
  return std::make_shared<const EightBitCodes>(Copy(tensors.at(name), torch::kChar).view(matrix.shape),
                                               Copy(tensors.at(Beside(name, "SCB")), torch::kFloat));
}

}  // namespace elrea
