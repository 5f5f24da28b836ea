// The processor's matrix unit (Intel AMX): eight registers of 16 rows of 64 bytes, and products of them that sum in 32 bits.
// oneDNN has its own way to it; this is for the products that are our own.
#pragma once

#if defined(__AMX_TILE__) && defined(__AMX_INT8__) && defined(__AMX_BF16__)
#define ELREA_AMX 1
#include <immintrin.h>
#endif

#include <cstdint>

namespace elrea::amx {

constexpr int kRows = 16;

// Whether this processor has the unit and the kernel lets this process use it, which is asked for once. Not where the
// environment has ELREA_AMX=0, nor while there is a Disabled.
bool Usable();

// Keeps the unit unused, to compare results with and without it.
class Disabled {
 public:
  Disabled();
  ~Disabled();
  Disabled(const Disabled&) = delete;
  Disabled& operator=(const Disabled&) = delete;
};

#ifdef ELREA_AMX

// The shape of one register; one without rows or bytes is not used.
struct Shape {
  int rows = kRows;
  int row_bytes = 64;
};

// Gives this thread's registers their shapes for the life of the object; without it they would be saved at every switch of threads.
class Registers {
 public:
  // shapes [8].
  explicit Registers(const Shape (&shapes)[8]);
  ~Registers() { _tile_release(); }
  Registers(const Registers&) = delete;
  Registers& operator=(const Registers&) = delete;
};

// What the compiler's intrinsics do. Register numbers are part of an instruction, hence template arguments. The compiler orders
// these among themselves, and Load and Store against its own accesses of the kBytes that they touch.

// A register from or to rows `stride` bytes apart, kBytes from the first row's begin to the last one's end.
template <int kRegister, int kBytes>
void Load(const void* from, int64_t stride) {
  struct Bytes {
    char of[kBytes];
  };
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(from), "r"(stride), "i"(kRegister), "m"(*static_cast<const Bytes*>(from)));
}
template <int kRegister, int kBytes>
void Store(void* to, int64_t stride) {
  struct Bytes {
    char of[kBytes];
  };
  asm volatile("tilestored %%tmm%c3, (%1,%2,1)" : "=m"(*static_cast<Bytes*>(to)) : "r"(to), "r"(stride), "i"(kRegister));
}
// The same where the number of bytes is not known before: against all accesses.
template <int kRegister>
void Load(const void* from, int64_t stride) {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(from), "r"(stride), "i"(kRegister) : "memory");
}
template <int kRegister>
void Store(void* to, int64_t stride) {
  asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(to), "r"(stride), "i"(kRegister) : "memory");
}
template <int kRegister>
void Zero() {
  asm volatile("tilezero %%tmm%c0" ::"i"(kRegister));
}
// sum [m, 16] i32 += a [m, 4 k] i8 x b [k, 16, 4] i8.
template <int kSum, int kA, int kB>
void MultiplyBytes() {
  asm volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kSum), "i"(kA), "i"(kB));
}
// sum [m, 16] f32 += a [m, 2 k] bf16 x b [k, 16, 2] bf16.
template <int kSum, int kA, int kB>
void MultiplyBFloat16() {
  asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kSum), "i"(kA), "i"(kB));
}

#endif

}  // namespace elrea::amx
