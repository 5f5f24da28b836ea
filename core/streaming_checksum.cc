#include "core/streaming_checksum.h"

#include <fmt/format.h>
#include <xxhash.h>

namespace elrea {

StreamingChecksum::StreamingChecksum()
    : state_(XXH3_createState(), [](XXH3_state_s* state) { XXH3_freeState(state); }) {
  XXH3_64bits_reset(state_.get());
}

void StreamingChecksum::Add(std::span<const std::byte> bytes) {
  XXH3_64bits_update(state_.get(), bytes.data(), bytes.size());
}

uint64_t StreamingChecksum::Value() const { return XXH3_64bits_digest(state_.get()); }

std::string StreamingChecksum::Hex() const { return fmt::format("{:016x}", Value()); }

WideChecksum WideChecksum::Of(std::string_view bytes) {
  const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  return {hash.high64, hash.low64};
}

}  // namespace elrea
