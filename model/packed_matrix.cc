// See packed_matrix.h. The product of one cell and one plane of a row (quantized_rows.h), q its codes:
//
//   y += scale_w * scale_x * (sum(code q) - zero_point sum(q)) + minimum * scale_x sum(q)
//
// The integer sums are exact, so the two planes of an own row give nearly the accuracy of f32. The row is the
// sum of its planes and, for a difference, of its reference.
#include "model/packed_matrix.h"

#include <ATen/Parallel.h>
#include <c10/util/Half.h>

#include <cstring>

#include "core/error.h"
#include "model/packed_amx.h"
#include "model/packed_cells.h"
#include "model/simd.h"

namespace elrea {

using simd::Vec;
using simd::VecI;

namespace {

constexpr int64_t kCell = kActivationBlock;  // inputs of a cell
constexpr int64_t kTile = PackedMatrix::kTile;

int64_t CodeBytes(const CodeFormat& f) { return kTile * kCell * f.bits / 8; }
int64_t VectorBytes(const CodeFormat& f) {
  return kTile * (f.scales_are_f16 ? 2 : 4);
}  // of scales or minima

int64_t CellBytes(const CodeFormat& f) {
  return CodeBytes(f) + VectorBytes(f) * (kCell / f.part) * (f.has_minima ? 2 : 1);
}

void WriteNumber(const CodeFormat& f, uint8_t* vector, int64_t lane, float value) {
  if (f.scales_are_f16) {
    const c10::Half half(value);
    std::memcpy(vector + 2 * lane, &half, sizeof half);
  } else {
    std::memcpy(vector + 4 * lane, &value, sizeof value);
  }
}

float ReadNumber(const CodeFormat& f, const uint8_t* vector, int64_t lane) {
  if (f.scales_are_f16) {
    c10::Half half;
    std::memcpy(&half, vector + 2 * lane, sizeof half);
    return half;
  }
  float value;
  std::memcpy(&value, vector + 4 * lane, sizeof value);
  return value;
}

// Where the code of `lane` and `input` lies in a cell of 4-bit codes: the byte, and which nibble of it.
struct NibblePlace {
  int64_t byte;
  int shift;
};
NibblePlace PlaceOf(int64_t lane, int64_t input) {
  const int64_t group = input / 4;
  return {group / 2 * 64 + lane * 4 + input % 4, group % 2 == 0 ? 0 : 4};
}
int64_t BytePlace(int64_t lane, int64_t input) { return input / 4 * 64 + lane * 4 + input % 4; }

}  // namespace

bool PackedMatrix::Serves(GgmlType type, int64_t out, int64_t in) {
#ifdef ELREA_PACKED_PRODUCTS
  return FindCodeFormat(type).has_value() && out % kTile == 0 && in % kCell == 0;
#else
  (void)type, (void)out, (void)in;
  return false;
#endif
}

PackedMatrix::PackedMatrix(GgmlType type, std::span<const std::byte> blocks, int64_t out, int64_t in,
                           const std::function<int64_t(int64_t)>& source_row)
    : format_(FindCodeFormat(type).value()), out_(out), in_(in), cell_bytes_(CellBytes(format_)) {
  bytes_ = torch::empty({num_tiles() * (in / kCell) * cell_bytes_}, torch::kByte);
  at::parallel_for(0, num_tiles(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t tile = begin; tile < end; ++tile) PackTile(type, blocks, tile, source_row);
  });
}

void PackedMatrix::PackTile(GgmlType type, std::span<const std::byte> blocks, int64_t tile,
                            const std::function<int64_t(int64_t)>& source_row) {
  const int64_t blocks_per_row = in_ / format_.elements, block_bytes = GgmlBlockBytes(type);
  const int64_t cells_per_block = format_.elements / kCell, parts = kCell / format_.part;
  std::memset(cell(tile, 0), 0, static_cast<size_t>(in_ / kCell * cell_bytes_));
  BlockCodes codes;
  for (int64_t lane = 0; lane < kTile; ++lane) {
    const int64_t row = source_row(tile * kTile + lane);
    for (int64_t block = 0; block < blocks_per_row; ++block) {
      ReadCodes(type, blocks.data() + (row * blocks_per_row + block) * block_bytes, codes);
      for (int64_t c = 0; c < cells_per_block; ++c) {
        uint8_t* to = cell(tile, block * cells_per_block + c);
        for (int64_t i = 0; i < kCell; ++i) {
          const uint8_t code = codes.codes[c * kCell + i];
          if (format_.bits == 8) {
            to[BytePlace(lane, i)] = code;
          } else {
            const NibblePlace place = PlaceOf(lane, i);
            to[place.byte] = static_cast<uint8_t>(to[place.byte] | code << place.shift);
          }
        }
        uint8_t* numbers = to + CodeBytes(format_);
        for (int64_t p = 0; p < parts; ++p) {
          WriteNumber(format_, numbers + p * VectorBytes(format_), lane, codes.scales[c * parts + p]);
          if (!format_.has_minima) continue;
          WriteNumber(format_, numbers + (parts + p) * VectorBytes(format_), lane,
                      codes.minima[c * parts + p]);
        }
      }
    }
  }
}

void PackedMatrix::ReadRow(int64_t row, float* values) const {
  const int64_t lane = row % kTile, parts = kCell / format_.part;
  for (int64_t i = 0; i < in_; ++i) {
    const uint8_t* from = cell(row / kTile, i / kCell);
    const int64_t input = i % kCell, part = input / format_.part;
    const NibblePlace place = PlaceOf(lane, input);
    const int code =
        format_.bits == 8 ? from[BytePlace(lane, input)] : (from[place.byte] >> place.shift) & 15;
    const uint8_t* numbers = from + CodeBytes(format_);
    const float scale = ReadNumber(format_, numbers + part * VectorBytes(format_), lane);
    const float minimum = format_.has_minima
                              ? ReadNumber(format_, numbers + (parts + part) * VectorBytes(format_), lane)
                              : -0.0f;
    values[i] = scale * static_cast<float>(code - format_.zero_point) + minimum;
  }
}

#ifdef ELREA_PACKED_PRODUCTS

namespace {

constexpr int kMostPlanes = 16;  // of one sweep over a tile: their sums and a cell's codes fill the registers

__m512i Quad(const int8_t* p) {
  int32_t four;
  std::memcpy(&four, p, sizeof four);
  return _mm512_set1_epi32(four);
}

// Sum of (code - zero point) * q over the inputs of part `p`.
template <typename F>
__m512 PartSums(const __m512i (&codes)[8], int p, const QuantizedBlock& x) {
  constexpr int kGroups = F::part / 4;
  __m512i sums = _mm512_setzero_si512();
  if constexpr (F::zero != 0) {
    sums = _mm512_set1_epi32(-F::zero * (F::part == 32 ? x.half_sums[0] + x.half_sums[1] : x.half_sums[p]));
  }
#pragma GCC unroll 8
  for (int g = 0; g < kGroups; ++g) {
    sums = _mm512_dpbusd_epi32(sums, codes[p * kGroups + g], Quad(x.codes + 4 * (p * kGroups + g)));
  }
  return (__m512) __builtin_convertvector((VecI)sums, Vec);
}

// One tile against planes [first, first + Planes): y [Planes, 16].
template <typename F, int Planes>
void TilePlanes(const uint8_t* cell, const QuantizedRows& x, int64_t first, float* y) {
  __m512 sums[Planes];
#pragma GCC unroll 16
  for (int r = 0; r < Planes; ++r) sums[r] = _mm512_setzero_ps();
  for (int64_t b = 0; b < x.num_blocks(); ++b, cell += F::cell_bytes) {
    __m512i codes[8];
    F::Codes(cell, codes);
    const uint8_t* numbers = cell + F::code_bytes;
    const QuantizedBlock* q = x.blocks(b, first);
#pragma GCC unroll 2
    for (int p = 0; p < F::parts; ++p) {
      const __m512 scale = F::Numbers(numbers + p * F::vector_bytes);
#pragma GCC unroll 16
      for (int r = 0; r < Planes; ++r) {
        const __m512 dot = PartSums<F>(codes, p, q[r]);
        sums[r] = _mm512_fmadd_ps(dot, _mm512_mul_ps(scale, _mm512_set1_ps(q[r].scale)), sums[r]);
      }
    }
    if constexpr (F::minima) {
      static_assert(F::parts == 1, "a minimum goes with the sum of a whole block");
      const __m512 minimum = F::Numbers(numbers + F::vector_bytes);
#pragma GCC unroll 16
      for (int r = 0; r < Planes; ++r)
        sums[r] = _mm512_fmadd_ps(minimum, _mm512_set1_ps(q[r].scaled_sum), sums[r]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < Planes; ++r) _mm512_storeu_ps(y + r * kTile, sums[r]);
}

template <typename F, int Planes = kMostPlanes>
void TileFor(int64_t planes, const uint8_t* cell, const QuantizedRows& x, int64_t first, float* y) {
  if (planes == Planes) return TilePlanes<F, Planes>(cell, x, first, y);
  if constexpr (Planes > 1) TileFor<F, Planes - 1>(planes, cell, x, first, y);
}

// Rows from their planes' sums [planes, 16]; own rows first, as differences add to them.
void SumPlanes(const QuantizedRows& x, const float* sums, float* y, int64_t y_stride) {
  for (const bool own : {true, false}) {
    for (int64_t row = 0; row < x.rows(); ++row) {
      if (x.is_own(row) != own) continue;
      const float* plane = sums + x.plane(row) * kTile;
      const float* rest = own ? plane + kTile : y + x.reference(row) * y_stride;
      simd::Store(y + row * y_stride, simd::Load(plane) + simd::Load(rest));
    }
  }
}

#ifdef ELREA_AMX
template <typename F>
void TilesOnAmx(const uint8_t* cells, const QuantizedRows& x, int64_t tile_begin, int64_t tile_end, float* y,
                int64_t y_stride) {
  const int64_t tile_bytes = x.num_blocks() * F::cell_bytes;
  AmxProducts<F> products(x);
  for (int64_t tile = tile_begin; tile < tile_end; ++tile) {
    const uint8_t* cell = cells + tile * tile_bytes;
    const float* sums = products.Tile(cell, tile + 1 < tile_end ? cell + tile_bytes : nullptr);
    SumPlanes(x, sums, y + tile * kTile, y_stride);
  }
}
#endif

template <typename F>
void Tiles(const uint8_t* cells, const QuantizedRows& x, int64_t tile_begin, int64_t tile_end, float* y,
           int64_t y_stride) {
#ifdef ELREA_AMX
  if (x.num_planes() >= kFewestPlanesForAmx && amx::Usable()) {
    return TilesOnAmx<F>(cells, x, tile_begin, tile_end, y, y_stride);
  }
#endif
  const int64_t tile_bytes = x.num_blocks() * F::cell_bytes, planes = x.num_planes();
  const int64_t sweeps =
      (planes + kMostPlanes - 1) / kMostPlanes;  // of one tile, from the nearest cache but for the first
  std::vector<float> sums(static_cast<size_t>(planes * kTile));
  for (int64_t tile = tile_begin; tile < tile_end; ++tile) {
    const uint8_t* cell = cells + tile * tile_bytes;
    for (int64_t s = 0; s < sweeps; ++s) {
      const int64_t first = planes * s / sweeps, count = planes * (s + 1) / sweeps - first;
      TileFor<F>(count, cell, x, first, sums.data() + first * kTile);
    }
    SumPlanes(x, sums.data(), y + tile * kTile, y_stride);
  }
}

}  // namespace

void PackedMatrix::Multiply(const QuantizedRows& x, int64_t tile_begin, int64_t tile_end, float* y,
                            int64_t y_stride) const {
  const auto run = [&]<typename F>(F) { Tiles<F>(cell(0, 0), x, tile_begin, tile_end, y, y_stride); };
  const CodeFormat& f = format_;
  if (f.part == 16) return run(CellFormat<8, 16, 32, false, false>{});
  if (f.bits == 4) {
    if (!f.has_minima) return run(CellFormat<4, 32, 8, false, true>{});
    return f.scales_are_f16 ? run(CellFormat<4, 32, 0, true, true>{}) : run(CellFormat<4, 32, 0, true, false>{});
  }
  if (f.zero_point == 16) return run(CellFormat<8, 32, 16, false, true>{});
  if (f.zero_point == 128) return run(CellFormat<8, 32, 128, false, true>{});
  return f.scales_are_f16 ? run(CellFormat<8, 32, 0, true, true>{}) : run(CellFormat<8, 32, 0, true, false>{});
}

#else

void PackedMatrix::Multiply(const QuantizedRows&, int64_t, int64_t, float*, int64_t) const {
  throw Error(ErrorKind::kInternal, "packed products need AVX-512 VNNI");
}

#endif

}  // namespace elrea
