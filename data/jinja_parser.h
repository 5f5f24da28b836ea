// From the source of a Jinja template to its tree: the language of Jinja 3 without template inheritance,
// imports, call blocks, recursive loops and automatic escaping.
#pragma once

#include <string_view>

#include "data/jinja_ast.h"

namespace elrea {

// kInvalidInput, with line and column, for what is not Jinja, for what is not supported, and for nesting
// deeper than any real template's. REQUIRES: valid UTF-8.
JinjaBody ParseJinja(std::string_view source);

}  // namespace elrea
