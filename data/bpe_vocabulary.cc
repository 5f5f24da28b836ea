// Spellings of bytes and the index of pieces.
#include "data/bpe_vocabulary.h"

#include <bit>
#include <cstring>
#include <utility>

#include "core/rng.h"
#include "data/pretokenizer_chars.h"

namespace elrea {
namespace {

constexpr size_t kAlphabetEnd = 0x144;  // 256 + the 68 bytes that are not printable

std::array<char32_t, 256> AlphabetCodes() {
  std::array<char32_t, 256> codes{};
  char32_t next = 0x100;
  for (char32_t byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
    codes[byte] = printable ? byte : next++;
  }
  return codes;
}

std::array<int16_t, kAlphabetEnd> BytesByCode() {
  std::array<int16_t, kAlphabetEnd> bytes;
  bytes.fill(-1);
  const auto codes = AlphabetCodes();
  for (size_t byte = 0; byte < 256; ++byte) bytes[codes[byte]] = static_cast<int16_t>(byte);
  return bytes;
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

}  // namespace

uint64_t HashBytes(std::string_view bytes) {
  uint64_t hash = bytes.size() * 0x9e3779b97f4a7c15ULL;
  uint64_t block;
  for (; bytes.size() >= 8; bytes.remove_prefix(8)) {
    std::memcpy(&block, bytes.data(), 8);
    hash = MixBits(hash ^ block);
  }
  block = 0;
  if (!bytes.empty()) std::memcpy(&block, bytes.data(), bytes.size());
  return MixBits(hash ^ block);
}

Vocabulary::Vocabulary(std::vector<std::string> pieces)
    : pieces_(std::move(pieces)), slots_(std::bit_ceil(2 * pieces_.size() + 2)) {
  for (size_t id = 0; id < pieces_.size(); ++id) {
    if (pieces_[id].empty()) continue;
    const uint64_t hash = HashBytes(pieces_[id]);
    slots_[SlotOf(pieces_[id], hash)] = {static_cast<uint32_t>(hash >> 32), static_cast<int32_t>(id)};
  }
}

size_t Vocabulary::SlotOf(std::string_view piece, uint64_t hash) const {
  const size_t mask = slots_.size() - 1;
  for (size_t i = hash & mask;; i = (i + 1) & mask) {
    const Slot& slot = slots_[i];
    if (slot.token < 0) return i;
    if (slot.hash_tag == hash >> 32 && pieces_[static_cast<size_t>(slot.token)] == piece) return i;
  }
}

std::optional<int32_t> Vocabulary::Find(std::string_view piece) const {
  if (slots_.empty()) return std::nullopt;
  const Slot& slot = slots_[SlotOf(piece, HashBytes(piece))];
  if (slot.token < 0) return std::nullopt;
  return slot.token;
}

const std::array<std::string, 256>& ByteAlphabet() {
  static const std::array<std::string, 256> alphabet = [] {
    std::array<std::string, 256> spelled;
    const auto codes = AlphabetCodes();
    for (size_t byte = 0; byte < 256; ++byte) {
      const char32_t code = codes[byte];
      if (code < 0x80) {
        spelled[byte] = std::string(1, static_cast<char>(code));
      } else {
        spelled[byte] = {static_cast<char>(0xC0 | code >> 6), static_cast<char>(0x80 | (code & 0x3F))};
      }
    }
    return spelled;
  }();
  return alphabet;
}

std::string SpelledInAlphabet(std::string_view bytes) {
  std::string spelled;
  spelled.reserve(2 * bytes.size());
  for (const char byte : bytes) spelled += ByteAlphabet()[static_cast<unsigned char>(byte)];
  return spelled;
}

std::optional<std::string> BytesOfAlphabetPiece(std::string_view piece) {
  static const auto bytes_by_code = BytesByCode();
  std::string bytes;
  for (size_t pos = 0; pos < piece.size();) {
    const Char c = CharAt(piece, pos);
    if (c.code >= kAlphabetEnd || bytes_by_code[c.code] < 0) return std::nullopt;
    bytes += static_cast<char>(bytes_by_code[c.code]);
    pos += c.num_bytes;
  }
  return bytes;
}

std::optional<uint8_t> ByteOfFallbackPiece(std::string_view piece) {
  if (piece.size() != 6 || !piece.starts_with("<0x") || piece[5] != '>') return std::nullopt;
  const int high = HexDigit(piece[3]), low = HexDigit(piece[4]);
  if (high < 0 || low < 0) return std::nullopt;
  return static_cast<uint8_t>(16 * high + low);
}

}  // namespace elrea
