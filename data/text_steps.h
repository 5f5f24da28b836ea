// Steps of normalisers that look at one character at a time. All but
// ReplaceAll take valid UTF-8, and all give it for such.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace elrea {

// Every `from`, from left to right, becomes `to`. An empty `from` is nowhere.
std::string ReplaceAll(std::string_view text, std::string_view from, std::string_view to);
// BERT's clean_text: control characters go, white space becomes " ".
std::string CleanText(std::string_view text);
// A space on both sides of every CJK ideograph.
std::string SpaceIdeographs(std::string_view text);
// Characters of any of these classes of text_classes.h go.
std::string RemoveClass(std::string_view text, uint8_t classes);
// Each character by itself, so no final sigma; Unicode of the tokenizers library.
std::string LowerCase(std::string_view text);
// White space at either end goes.
std::string StripSpace(std::string_view text, bool left, bool right);
// SentencePiece's clean-up of its NMT rules: control characters go, odd white space becomes " ".
std::string CleanNmt(std::string_view text);

}  // namespace elrea
