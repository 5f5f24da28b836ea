// A vocabulary as its file spells it, and the spellings of bytes: GPT-2's alphabet, in which every byte is a
// printable character, and SentencePiece's "<0x0A>".
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace elrea {

// Pieces by id with an index by text. Move-only: the index points into the pieces.
class Vocabulary {
 public:
  Vocabulary() = default;
  explicit Vocabulary(
      std::vector<std::string> pieces);  // of equal pieces the last has the index; empty ones none
  Vocabulary(Vocabulary&&) noexcept = default;
  Vocabulary& operator=(Vocabulary&&) noexcept = default;

  int64_t size() const { return static_cast<int64_t>(pieces_.size()); }
  const std::string& piece(int32_t token) const { return pieces_[static_cast<size_t>(token)]; }
  const std::vector<std::string>& pieces() const { return pieces_; }
  std::optional<int32_t> Find(std::string_view piece) const;

 private:
  std::vector<std::string> pieces_;
  std::unordered_map<std::string_view, int32_t> ids_;
};

// The character that stands for each byte in GPT-2's alphabet: printable Latin-1 for itself, the others from
// U+0100 on. Source: OpenAI's GPT-2 bytes_to_unicode.
const std::array<std::string, 256>& ByteAlphabet();
// The bytes a piece of a byte-level vocabulary stands for; nullopt when it has a character outside the
// alphabet.
std::optional<std::string> BytesOfAlphabetPiece(std::string_view piece);
// 0x0A for "<0x0A>".
std::optional<uint8_t> ByteOfFallbackPiece(std::string_view piece);

}  // namespace elrea
