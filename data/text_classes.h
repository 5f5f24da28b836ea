// Classes of code points as BERT's normaliser and the white-space pre-tokenisers see them; frozen like those
// of pretokenizer_chars.h, and kept apart from them so that the scanners' table stays small.
#pragma once

#include <cstdint>
#include <span>

#include "data/pretokenizer_chars.h"

namespace elrea {

// Bits of a code point's class.
inline constexpr uint8_t kCleanedChar = 1;      // BERT's clean_text drops it
inline constexpr uint8_t kPunctuationChar = 2;  // ASCII punctuation and symbols, and Unicode's P*
inline constexpr uint8_t kNonspacingMark = 4;   // what BERT's strip_accents takes away
inline constexpr uint8_t kCombiningMark = 8;    // what the StripAccents normaliser takes away
inline constexpr uint8_t kWordChar = 16;        // \w
inline constexpr uint8_t kNormalizedChar = 32;  // what a normal form changes, reorders or composes

// Ascending, disjoint; everything else has no class.
std::span<const CharRange> TextRanges();

// 0x110000 classes, by code point. Built on first use (1.1 MB); thread-safe.
const uint8_t* TextClassTable();

// Scripts as the UnicodeScripts pre-tokeniser sees them: numbers that stand for nothing but themselves, with
// Hiragana and Katakana in Han; kAnyScript for spaces and what has none. 0x110000 of them, as above.
inline constexpr uint8_t kAnyScript = 0;
std::span<const CharRange> ScriptRanges();
const uint8_t* ScriptTable();

}  // namespace elrea
