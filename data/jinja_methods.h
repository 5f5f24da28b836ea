// Python's string functions, as far as templates use them.
#pragma once

#include <string>
#include <string_view>

#include "data/jinja_value.h"

namespace elrea {

// JinjaFault where one character's other case is several characters, or depends on its neighbours.
std::string PythonUpper(std::string_view text);
std::string PythonLower(std::string_view text);
std::string PythonCapitalize(std::string_view text);
// Without `chars` white space; else the characters in it.
std::string PythonStripped(std::string_view text, const JinjaValue* chars, bool left, bool right);
// `count` < 0: all.
std::string PythonReplace(std::string_view text, std::string_view from, std::string_view to, int64_t count);

}  // namespace elrea
