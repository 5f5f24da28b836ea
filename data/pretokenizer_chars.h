// Classes of code points as pre-tokenisers see them, frozen here rather than asked of a Unicode library: a
// model's tokens must not change with the version of a system library.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace elrea {

// Bits of a code point's class.
inline constexpr uint8_t kSpaceChar = 1;   // \s
inline constexpr uint8_t kLetterChar = 2;  // \p{L}
inline constexpr uint8_t kNumberChar = 4;  // \p{N}
inline constexpr uint8_t kNumericChar =
    8;  // what the Digits pre-tokeniser isolates: \p{N} of a newer Unicode

struct CharRange {
  char32_t first, last;
  uint8_t classes;
};
// Ascending, disjoint; everything else has no class.
std::span<const CharRange> CharRanges();

// 0x110000 classes, by code point. Built on first use (1.1 MB); thread-safe.
const uint8_t* CharClassTable();

struct Char {
  char32_t code;
  uint32_t num_bytes;
};
// REQUIRES: valid UTF-8, pos < text.size() and pos at the start of a character.
inline Char CharAt(std::string_view text, size_t pos) {
  const auto byte = [&](size_t i) {
    return static_cast<char32_t>(static_cast<unsigned char>(text[pos + i]));
  };
  const char32_t first = byte(0);
  if (first < 0x80) return {first, 1};
  if (first < 0xE0) return {(first & 0x1F) << 6 | (byte(1) & 0x3F), 2};
  if (first < 0xF0) return {(first & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F), 3};
  return {(first & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F), 4};
}

}  // namespace elrea
