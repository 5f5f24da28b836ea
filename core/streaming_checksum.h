// A checksum over pieces, for what is too large to lie in memory at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

struct XXH3_state_s;

namespace elrea {

// XXH3 64, equal to Checksum() of the pieces put together. Single-thread.
class StreamingChecksum {
 public:
  StreamingChecksum();
  void Add(std::span<const std::byte> bytes);
  void Add(std::string_view text) { Add(std::as_bytes(std::span(text))); }
  uint64_t Value() const;
  std::string Hex() const;  // of the value, 16 hexadecimal digits

 private:
  std::unique_ptr<XXH3_state_s, void (*)(XXH3_state_s*)> state_;
};

// XXH3 64 of the first `max_bytes` of a file, as FileChecksumHex (core/files.h) of all; both read piece by piece.
std::string FileChecksumHex(const std::filesystem::path& path, uint64_t max_bytes);

// XXH3 128: two texts with the same one may be taken for equal.
struct WideChecksum {
  uint64_t high = 0, low = 0;
  static WideChecksum Of(std::string_view bytes);
  friend bool operator==(const WideChecksum&, const WideChecksum&) = default;
};

}  // namespace elrea
