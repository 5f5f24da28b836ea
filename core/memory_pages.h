// What the kernel is told of pages: those of a mapped file that are no longer needed for now, and those of new memory that
// will all be written.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <span>

namespace elrea {

// madvise of the whole pages inside `bytes`. Only advice: nothing happens where the kernel does not take it.
inline void AdviseWholePages(std::span<const std::byte> bytes, int advice) {
  static const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = (reinterpret_cast<uintptr_t>(bytes.data()) + page - 1) / page * page;
  const auto end = reinterpret_cast<uintptr_t>(bytes.data() + bytes.size()) / page * page;
  if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, advice);
}

// Takes the whole pages inside `bytes`, a part of a MappedFile, out of the process's memory; they are read
// again where they are needed again. Without it a file that is copied while it is mapped counts twice.
inline void DropMappedPages(std::span<const std::byte> bytes) { AdviseWholePages(bytes, MADV_DONTNEED); }

// For large memory that was just allocated: pages of 2 MiB where the kernel has them, so that filling gigabytes does not
// mean a fault for every 4 KiB.
inline void UseHugePages(std::span<const std::byte> bytes) { AdviseWholePages(bytes, MADV_HUGEPAGE); }

}  // namespace elrea
