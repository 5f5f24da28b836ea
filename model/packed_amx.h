// Products of a packed matrix with many planes of rows on the processor's matrix unit: the integer sums of sixteen planes,
// sixteen outputs and a cell's 32 inputs are one instruction, where packed_matrix.cc's vectors take 128. The sums are
// integers and what follows them is the same, so that results are those of the vectors, bit for bit.
#pragma once

#include "model/amx.h"
#include "model/packed_cells.h"

#if defined(ELREA_AMX) && defined(ELREA_PACKED_PRODUCTS)

#include <algorithm>
#include <vector>

#include "model/bf16_products.h"
#include "model/decode_kernels.h"
#include "model/quantized_rows.h"
#include "model/simd.h"

namespace elrea {

// Below, a product waits for the weights' memory either way.
constexpr int64_t kFewestPlanesForAmx = 6;

// For one thread, one object at a time: they share the thread's buffers. F: a CellFormat.
template <typename F>
class AmxProducts {
 public:
  explicit AmxProducts(const QuantizedRows& x)
      : x_(x),
        sweeps_((x.num_planes() + kMost - 1) / kMost),
        planes_((x.num_planes() + sweeps_ - 1) / sweeps_),
        registers_({{planes(), 64}, {planes(), 64}, {planes(), 64}, {planes(), 64}, {planes(), F::part}, {planes(), F::part},
                    {F::part / 4, 64}, {F::part / 4, 64}}),
        codes_(Sized(ThreadBuffer<int8_t>(), x.num_blocks() * kCellCodes)),
        sums_(Sized(ThreadBuffer<float>(), x.num_planes() * kLanes)) {}

  // cells: of one tile of the matrix; `next`: of the tile after it, brought near meanwhile. The sums of all planes [planes, 16],
  // until the next call.
  const float* Tile(const uint8_t* cells, const uint8_t* next) {
    for (int64_t b = 0; b < x_.num_blocks(); ++b) UnpackCodes(cells + b * F::cell_bytes, codes_ + b * kCellCodes);
    for (int64_t s = 0; s < sweeps_; ++s) {
      const int64_t first = std::min(s * planes_, x_.num_planes() - planes_);  // the last ones overlap
      SweepOf(planes_, cells, s == 0 ? next : nullptr, first);
    }
    return sums_;
  }

 private:
  static constexpr int kMost = amx::kRows, kLanes = 16, kCellCodes = 32 * kLanes;
  static constexpr int kInFlight = 4, kDotsBytes = kMost * kLanes * 4;
  struct alignas(64) Dots {
    int32_t of[2 * kInFlight][kMost * kLanes];  // by unit [planes, 16]
  };
  static int64_t CellAt(int64_t unit) { return unit / F::parts * F::cell_bytes; }  // bytes from a tile's first cell
  template <typename T>
  static std::vector<T, LineAllocator<T>>& ThreadBuffer() {
    thread_local std::vector<T, LineAllocator<T>> buffer;
    return buffer;
  }
  int planes() const { return static_cast<int>(planes_); }

  // The codes less the zero point [8, 16, 4].
  static void UnpackCodes(const uint8_t* cell, int8_t* to) {
    __m512i codes[8];
    F::Codes(cell, codes);
    const __m512i zero = _mm512_set1_epi8(F::zero == 128 ? -128 : F::zero);
#pragma GCC unroll 8
    for (int g = 0; g < 8; ++g) _mm512_store_si512(to + 64 * g, F::zero == 0 ? codes[g] : _mm512_sub_epi8(codes[g], zero));
  }

  template <int Planes = kMost>
  void SweepOf(int64_t planes, const uint8_t* cells, const uint8_t* next, int64_t first) {
    if (planes == Planes) return Sweep<Planes>(cells, next, first);
    if constexpr (Planes > 1) SweepOf<Planes - 1>(planes, cells, next, first);
  }

  // Integer sums of unit `u`, one part of a cell, into register kRegister.
  template <int kRegister>
  void Dot(const QuantizedBlock* q, int64_t u) {
    constexpr int kA = 4 + kRegister % 2, kB = 6 + kRegister % 2;
    const int64_t part = u % F::parts;
    amx::Zero<kRegister>();
    amx::Load<kA, kMost * sizeof(QuantizedBlock)>(q->codes + part * F::part, sizeof(QuantizedBlock));
    amx::Load<kB, F::part * kLanes>(codes_ + u * F::part * kLanes, 64);
    amx::MultiplyBytes<kRegister, kA, kB>();
  }

  // sums += scale_w * scale_x * dots, and a cell's minima; dots [Planes, 16] of one part of a cell.
  template <int Planes>
  [[gnu::always_inline]] static void Add(const QuantizedBlock* q, const uint8_t* numbers, int64_t part, const int32_t* dots,
                                         __m512 (&sums)[Planes]) {
    const __m512 scale = F::Numbers(numbers + part * F::vector_bytes);
#pragma GCC unroll 16
    for (int r = 0; r < Planes; ++r) {
      const auto dot = (__m512) __builtin_convertvector((simd::VecI)_mm512_load_si512(dots + r * kLanes), simd::Vec);
      sums[r] = _mm512_fmadd_ps(dot, _mm512_mul_ps(scale, _mm512_set1_ps(q[r].scale)), sums[r]);
    }
    if constexpr (F::minima) {
      const __m512 minimum = F::Numbers(numbers + F::vector_bytes);
#pragma GCC unroll 16
      for (int r = 0; r < Planes; ++r) sums[r] = _mm512_fmadd_ps(minimum, _mm512_set1_ps(q[r].scaled_sum), sums[r]);
    }
  }

  // Sums of planes [first, first + Planes). A register is stored some units after its product began, and what was stored is
  // added some units later: a store that waits for its product keeps everything behind it waiting too.
  template <int Planes>
  void Sweep(const uint8_t* cells, const uint8_t* next, int64_t first) {
    __m512 sums[Planes];
#pragma GCC unroll 16
    for (int r = 0; r < Planes; ++r) sums[r] = _mm512_setzero_ps();
    Dots dots;
    const int64_t units = x_.num_blocks() * F::parts;
    const auto step = [&]<int kRegister>(int64_t u) __attribute__((always_inline)) {
      const int64_t stored = u - kInFlight, added = u - 2 * kInFlight;
      if (stored >= 0 && stored < units) amx::Store<kRegister, kDotsBytes>(dots.of[stored % (2 * kInFlight)], 4 * kLanes);
      if (u < units) {
        if (next != nullptr && u % F::parts == 0) Prefetch(next, CellAt(u), CellAt(u) + F::cell_bytes);
        Dot<kRegister>(x_.blocks(u / F::parts, first), u);
      }
      if (added >= 0 && added < units) {
        Add<Planes>(x_.blocks(added / F::parts, first), cells + CellAt(added) + F::code_bytes, added % F::parts,
                    dots.of[added % (2 * kInFlight)], sums);
      }
    };
    for (int64_t u = 0; u < units + 2 * kInFlight; u += kInFlight) {
      step.template operator()<0>(u);
      step.template operator()<1>(u + 1);
      step.template operator()<2>(u + 2);
      step.template operator()<3>(u + 3);
    }
#pragma GCC unroll 16
    for (int r = 0; r < Planes; ++r) _mm512_store_ps(sums_ + (first + r) * kLanes, sums[r]);
  }

  const QuantizedRows& x_;
  const int64_t sweeps_, planes_;
  const amx::Registers registers_;
  int8_t* codes_;  // [blocks, 8, 16, 4] of the tile at hand
  float* sums_;    // [planes, 16]
};

}  // namespace elrea

#endif
