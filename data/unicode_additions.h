// What the `tokenizers` library knows of characters that are newer than the Unicode of this system's
// libraries (14 at least): its regular expressions' properties and its lower case.
#pragma once

#include <span>
#include <string_view>

namespace elrea {

struct PropertyAddition {
  std::string_view name;     // of \p{L}: "L"; of \w: "w"
  std::string_view members;  // what to add to a class of characters, as PCRE2 reads it
};
std::span<const PropertyAddition> PropertyAdditions();

struct LowerAddition {
  char32_t code, lower;
};
std::span<const LowerAddition> LowerAdditions();  // ascending by code

}  // namespace elrea
