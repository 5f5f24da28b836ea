// A vocabulary as its file spells it, and the spellings of bytes: GPT-2's alphabet, in which every byte is a
// printable character, and SentencePiece's "<0x0A>".
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace elrea {

// A hash for short strings: eight bytes at a time through SplitMix's finaliser.
uint64_t HashBytes(std::string_view bytes);

// Pieces by id with an index by text.
class Vocabulary {
 public:
  Vocabulary() = default;
  explicit Vocabulary(
      std::vector<std::string> pieces);  // of equal pieces the last has the index; empty ones none

  int64_t size() const { return static_cast<int64_t>(pieces_.size()); }
  const std::string& piece(int32_t token) const { return pieces_[static_cast<size_t>(token)]; }
  const std::vector<std::string>& pieces() const { return pieces_; }
  std::optional<int32_t> Find(std::string_view piece) const;

 private:
  struct Slot {
    uint32_t hash_tag = 0;  // the hash's upper half, which saves most comparisons of texts
    int32_t token = -1;
  };
  size_t SlotOf(std::string_view piece, uint64_t hash) const;
  std::vector<std::string> pieces_;
  std::vector<Slot> slots_;  // open addressing, load at most one half
};

// The character that stands for each byte in GPT-2's alphabet: printable Latin-1 for itself, the others from
// U+0100 on. Source: OpenAI's GPT-2 bytes_to_unicode.
const std::array<std::string, 256>& ByteAlphabet();
// `bytes` written in that alphabet.
std::string SpelledInAlphabet(std::string_view bytes);
// The bytes a piece of a byte-level vocabulary stands for; nullopt when it has a character outside the
// alphabet.
std::optional<std::string> BytesOfAlphabetPiece(std::string_view piece);
// 0x0A for "<0x0A>".
std::optional<uint8_t> ByteOfFallbackPiece(std::string_view piece);

}  // namespace elrea
