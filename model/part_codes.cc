#include "model/part_codes.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace elrea {

using torch::Tensor;

namespace {

constexpr int64_t kChunk = int64_t{1} << 24;  // weights read at once: about 200 MiB of indices and f32 values

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

Tensor Moved(const Tensor& t, torch::Device device) { return t.defined() ? t.to(device) : t; }

int64_t Bytes(const Tensor& t) { return t.defined() ? static_cast<int64_t>(t.nbytes()) : 0; }

Tensor Lookup(const Tensor& map, const Tensor& codes) { return map.index_select(0, codes.to(torch::kInt)); }

}  // namespace

Tensor PartScales::Read(int64_t begin, int64_t end) const {
  const Tensor some = values.slice(0, begin, end);
  if (block == 0) return some.to(torch::kFloat);
  const Tensor blocks = at::floor_divide(at::arange(begin, end, some.options().dtype(torch::kLong)), block);
  return Lookup(map, some).mul_(block_scales.index_select(0, blocks)).add_(offset);
}

Tensor PartCodes::MakeMap(const std::vector<float>& values) {
  const Tensor each = torch::tensor(values);
  const int64_t n = each.numel();
  if (n == 256) return each.unsqueeze(1);
  return torch::stack({each.repeat_interleave(n), each.repeat({n})}, 1);
}

PartCodes PartCodes::To(torch::Device device) const {
  PartCodes moved = *this;
  for (Tensor* t : {&moved.codes, &moved.map, &moved.scales.values, &moved.scales.map, &moved.scales.block_scales, &moved.minima})
    *t = Moved(*t, device);
  return moved;
}

int64_t PartCodes::num_bytes() const {
  return Bytes(codes) + Bytes(map) + Bytes(scales.values) + Bytes(scales.map) + Bytes(scales.block_scales) + Bytes(minima);
}

Tensor PartCodes::Read(int64_t begin, int64_t end) const {
  // Whole parts, from one on that begins with a byte.
  const int64_t first = begin / part / 2 * 2, last = CeilDiv(end, part), num_parts = last - first;
  const Tensor bytes = codes.slice(0, first * part * bits / 8, CeilDiv(last * part * bits, 8));
  Tensor values = Lookup(map, bytes).view(-1).slice(0, 0, num_parts * part);
  if (values.numel() < num_parts * part) values = at::constant_pad_nd(values, {0, num_parts * part - values.numel()});
  values = values.view({num_parts, part}).mul_(scales.Read(first, last).unsqueeze(1));
  if (factor != 1) values.mul_(factor);
  if (minima.defined()) values.add_(minima.slice(0, first, last).to(torch::kFloat).unsqueeze(1));
  return values.view(-1).slice(0, begin - first * part, end - first * part);
}

DeviceMatrixCodes::DeviceMatrixCodes(int64_t rows, int64_t cols, PartCodes parts)
    : MatrixCodes(rows, cols), parts_(std::move(parts)) {}

std::shared_ptr<const MatrixCodes> DeviceMatrixCodes::To(torch::Device device) const {
  return std::make_shared<const DeviceMatrixCodes>(rows(), cols(), parts_.To(device));
}

void DeviceMatrixCodes::ReadInto(int64_t first, Tensor& values) const {
  const int64_t step = std::max<int64_t>(1, kChunk / cols());
  for (int64_t row = 0; row < values.size(0); row += step) {
    const int64_t rows = std::min(step, values.size(0) - row), begin = (first + row) * cols();
    values.narrow(0, row, rows).copy_(parts_.Read(begin, begin + rows * cols()).view({rows, cols()}));
  }
}

}  // namespace elrea
