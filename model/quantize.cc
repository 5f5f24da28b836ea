#include "model/quantize.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "model/gptq.h"

namespace elrea {

using torch::Tensor;

namespace {

constexpr int64_t kBlock = 64, kNestedBlock = 256;
constexpr float kSmallestScale = 1e-38f;

// NormalFloat4: quantiles of a normal distribution.
constexpr std::array<float, 16> kNf4 = {
    -1.0f,                -0.6961928009986877f, -0.5250730514526367f, -0.39491748809814453f,
    -0.28444138169288635f, -0.18477343022823334f, -0.09105003625154495f, 0.0f,
    0.07958029955625534f, 0.16093020141124725f, 0.24611230194568634f, 0.33791524171829224f,
    0.44070982933044434f, 0.5626170039176941f,  0.7229568362236023f,  1.0f};

// The 256 numbers of the dynamic 8-bit type, rising: a sign, an exponent of ten whose length varies, and as many
// equal steps as the remaining bits allow. Source: 8-bit approximations for parallelism (arXiv:1511.04561).
Tensor DynamicMap() {
  constexpr int64_t kExponents = 7;
  std::vector<Tensor> parts = {torch::tensor({0.0f, 1.0f})};
  for (int64_t i = 0; i < kExponents; ++i) {
    const Tensor steps = torch::linspace(0.1, 1, (int64_t{1} << i) + 1, torch::kFloat);
    const Tensor means = (steps.slice(0, 0, -1) + steps.slice(0, 1)) / 2.0;
    const double scale = std::pow(10.0, static_cast<double>(i - (kExponents - 1)));
    parts.push_back(means * scale);
    parts.push_back(means * -scale);
  }
  return std::get<0>(torch::cat(parts).sort());
}

// values [n] cut into rows of `block`, the last one filled up with zeros.
Tensor InBlocks(const Tensor& values, int64_t block) {
  const int64_t rest = (block - values.numel() % block) % block;
  return (rest == 0 ? values : at::constant_pad_nd(values, {0, rest})).view({-1, block});
}

Tensor LargestMagnitudes(const Tensor& blocks) { return std::get<0>(blocks.abs().max(1)); }

// [n] u8: two codes a byte, the first in the high half. codes [n] i32.
Tensor PackPairs(Tensor codes) {
  if (codes.numel() % 2 != 0) codes = at::constant_pad_nd(codes, {0, 1});
  codes = codes.to(torch::kByte).view({-1, 2});
  return codes.select(1, 0).mul(16).add(codes.select(1, 1));
}

// The nearest number of the map for each of values [n]; of two equally near ones the smaller.
Tensor NearestCodes(const Tensor& values, const Tensor& map) {
  const Tensor above = torch::searchsorted(map, values).clamp_(1, map.numel() - 1), below = above - 1;
  const Tensor nearer_above =
      (values - map.index_select(0, below)).abs().gt((values - map.index_select(0, above)).abs());
  return torch::where(nearer_above, above, below).to(torch::kByte);
}

void QuantizeScales(FourBitParts& parts) {
  parts.offset = parts.absmax.mean().item<float>();
  const Tensor centred = parts.absmax - parts.offset, blocks = InBlocks(centred, kNestedBlock);
  parts.nested_block = kNestedBlock;
  parts.nested_map = DynamicMap();
  parts.nested_absmax = LargestMagnitudes(blocks);
  const Tensor scaled = blocks * parts.nested_absmax.clamp_min(kSmallestScale).reciprocal().unsqueeze(1);
  parts.absmax = NearestCodes(scaled.reshape(-1).slice(0, 0, centred.numel()).contiguous(), parts.nested_map);
}

// All but the codes: scales in f32.
FourBitParts Nf4Parts(const Tensor& blocks) {
  FourBitParts parts;
  parts.block = kBlock;
  parts.map = kNf4;
  parts.absmax = LargestMagnitudes(blocks);
  return parts;
}

}  // namespace

std::shared_ptr<const FourBitCodes> QuantizeNf4(const Tensor& values, bool nested, const Tensor& moments) {
  FourBitParts parts = Nf4Parts(InBlocks(values.reshape(-1), kBlock));
  if (nested) QuantizeScales(parts);
  // The scales as they are read: codes make up for the rounding of these too.
  const Tensor scales = FourBitCodes(values.size(0), values.size(1), parts).Scales();
  parts.codes = PackPairs(GptqCodes(values, scales, moments, kNf4).view(-1).to(torch::kInt));
  return std::make_shared<const FourBitCodes>(values.size(0), values.size(1), std::move(parts));
}

std::shared_ptr<const FourBitCodes> QuantizeNf4(const Tensor& values, bool nested) {
  const Tensor flat = values.reshape(-1), blocks = InBlocks(flat, kBlock);
  FourBitParts parts = Nf4Parts(blocks);
  const Tensor map = torch::tensor(std::vector<float>(kNf4.begin(), kNf4.end()));
  const Tensor bounds = (map.slice(0, 0, -1) + map.slice(0, 1)) / 2;
  const Tensor scaled = (blocks * parts.absmax.clamp_min(kSmallestScale).reciprocal().unsqueeze(1)).clamp_(-1, 1);
  parts.codes = PackPairs(torch::bucketize(scaled.reshape(-1).slice(0, 0, flat.numel()).contiguous(), bounds,
                                           /*out_int32=*/true));
  if (nested) QuantizeScales(parts);
  return std::make_shared<const FourBitCodes>(values.size(0), values.size(1), std::move(parts));
}

std::shared_ptr<const EightBitCodes> QuantizeInt8(const Tensor& values) {
  const Tensor scales = LargestMagnitudes(values);
  // Times the reciprocal, as there: a quotient rounds otherwise where a code lies between two numbers.
  const Tensor factors = scales.clamp_min(kSmallestScale).reciprocal() * 127.0;
  const Tensor codes = (values * factors.unsqueeze(1)).round_().to(torch::kChar);
  return std::make_shared<const EightBitCodes>(codes.contiguous(), scales.contiguous());
}

std::shared_ptr<const MatrixCodes> QuantizeFor(WeightStorage storage, const torch::Tensor& values,
                                               const std::string& name) {
  if (!at::isfinite(values).all().item<bool>())
    throw Error(ErrorKind::kCorrupt, fmt::format("tensor {} has values that are not finite; it cannot be quantised", name));
  if (storage == WeightStorage::kInt8) return QuantizeInt8(values);
  return QuantizeNf4(values, storage == WeightStorage::kNf4Double);
}

}  // namespace elrea
