// Inner products of 8-bit vectors, the cheapest estimate of a float product on processors with AVX-512 VNNI
// (four times the float rate). Exact integer arithmetic: the fast and the portable path agree bit for bit.
#pragma once

#include <cstdint>
#include <vector>

namespace elrea {

// Whether this build has the fast path.
bool HasFastByteProducts();

// values[i] ~ scale * bytes[i], bytes in -127 .. 127. Returns the scale (0 for a zero vector).
float Quantize(const float* values, int64_t dim, int8_t* bytes);

// Byte vectors laid out for the product in groups of 64. Const-shareable.
class BytePanel {
 public:
  static constexpr int64_t kGroup = 64;

  // REQUIRES: dim a multiple of 4.
  BytePanel(int64_t rows, int64_t dim);
  void SetRow(int64_t row, const int8_t* bytes);

  int64_t padded_rows() const { return padded_rows_; }

  // out[i * padded_rows() + j] = left_i . row_j; left is [num_left, dim]. Rows that were not set count as
  // zero.
  void Products(const int8_t* left, int64_t num_left, int32_t* out) const;
  void ProductsPortable(const int8_t* left, int64_t num_left, int32_t* out) const;

 private:
  int64_t padded_rows_, dim_;
  std::vector<uint8_t>
      packed_;  // [groups, dim / 4, 64, 4], each byte + 128: the instruction takes unsigned by signed
};

// left . right.
int32_t ByteDot(const int8_t* left, const int8_t* right, int64_t dim);

}  // namespace elrea
