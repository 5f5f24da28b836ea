// A std::vector whose large blocks are pages of the system: untouched spare capacity costs nothing, and what
// is freed goes back at once. malloc keeps freed blocks of this size, which made the peak memory of BIRCH a
// third higher.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <new>
#include <vector>

namespace elrea {

template <typename T>
struct PageAllocator {
  using value_type = T;
  static constexpr size_t kLarge = size_t{1} << 18;  // bytes

  PageAllocator() = default;
  template <typename Other>
  PageAllocator(const PageAllocator<Other>&) {}

  T* allocate(size_t count) {
    const size_t num_bytes = count * sizeof(T);
    if (num_bytes < kLarge) return static_cast<T*>(::operator new(num_bytes));
    void* pages = ::mmap(nullptr, num_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED) throw std::bad_alloc();
    return static_cast<T*>(pages);
  }
  void deallocate(T* block, size_t count) {
    const size_t num_bytes = count * sizeof(T);
    if (num_bytes < kLarge) {
      ::operator delete(block);
    } else {
      ::munmap(block, num_bytes);
    }
  }
  bool operator==(const PageAllocator&) const { return true; }
};

template <typename T>
using PageVector = std::vector<T, PageAllocator<T>>;

}  // namespace elrea
