#include "model/amx.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <string_view>

namespace elrea::amx {

namespace {

std::atomic<int> num_disabled = 0;

bool AskForUse() {
#ifdef ELREA_AMX
  const char* setting = std::getenv("ELREA_AMX");
  if (setting != nullptr && std::string_view(setting) == "0") return false;
  constexpr int kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA of the kernel
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

}  // namespace

bool Usable() {
  static const bool usable = AskForUse();
  return usable && num_disabled == 0;
}

Disabled::Disabled() { ++num_disabled; }
Disabled::~Disabled() { --num_disabled; }

#ifdef ELREA_AMX

Registers::Registers(const Shape (&shapes)[8]) {
  // The memory format of LDTILECFG (Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2).
  struct alignas(64) {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t row_bytes[16] = {};
    uint8_t rows[16] = {};
  } config;
  static_assert(sizeof config == 64);
  for (int i = 0; i < 8; ++i) {
    if (shapes[i].rows == 0 || shapes[i].row_bytes == 0) continue;  // the processor refuses one without the other
    config.row_bytes[i] = static_cast<uint16_t>(shapes[i].row_bytes);
    config.rows[i] = static_cast<uint8_t>(shapes[i].rows);
  }
  asm volatile("ldtilecfg %0" ::"m"(config));  // gcc's intrinsic does not say that all of it is read
}

#endif

}  // namespace elrea::amx
