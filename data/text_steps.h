// Steps of normalisers that look at one character at a time. All take valid UTF-8 and give it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace elrea {

// BERT's clean_text: control characters go, white space becomes " ".
std::string CleanText(std::string_view text);
// A space on both sides of every CJK ideograph.
std::string SpaceIdeographs(std::string_view text);
// Characters of any of these classes of text_classes.h go.
std::string RemoveClass(std::string_view text, uint8_t classes);
// Each character by itself, so no final sigma; Unicode of the system's utf8proc.
std::string LowerCase(std::string_view text);
// White space at either end goes.
std::string StripSpace(std::string_view text, bool left, bool right);
// SentencePiece's clean-up of its NMT rules: control characters go, odd white space becomes " ".
std::string CleanNmt(std::string_view text);

}  // namespace elrea
