// Spellings of bytes and the index of pieces.
#include "data/bpe_vocabulary.h"

#include <utility>

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
  return -1;
}

}  // namespace

Vocabulary::Vocabulary(std::vector<std::string> pieces) : pieces_(std::move(pieces)) {
  ids_.reserve(pieces_.size());
  for (size_t id = 0; id < pieces_.size(); ++id) {
    if (!pieces_[id].empty()) ids_[pieces_[id]] = static_cast<int32_t>(id);
  }
}

std::optional<int32_t> Vocabulary::Find(std::string_view piece) const {
  const auto found = ids_.find(piece);
  if (found == ids_.end()) return std::nullopt;
  return found->second;
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
