// The tokens of a Jinja template, with its white-space rules: trim_blocks and lstrip_blocks on, as chat
// templates expect, "-" and "+" beside a tag's delimiter, one line break at the end dropped.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace elrea {

struct JinjaPosition {
  int64_t line = 1, column = 1;  // 1-based; columns count characters
};

struct JinjaToken {
  enum class Kind {
    kText,
    kPrintBegin,
    kPrintEnd,
    kTagBegin,
    kTagEnd,
    kName,
    kString,
    kInteger,
    kFloat,
    kOperator,
    kEnd
  };
  Kind kind;
  std::string text;  // of a string: its value
  JinjaPosition at;
};

// kInvalidInput, with line and column, for what is not Jinja. REQUIRES: valid UTF-8.
std::vector<JinjaToken> LexJinja(std::string_view source);

// kInvalidInput: "chat template, line 3, column 7: ...".
[[noreturn]] void ThrowJinja(JinjaPosition at, const std::string& fault);

// Python's str.strip, lstrip and rstrip without arguments: Unicode's white space and four control characters.
std::string_view PythonStrip(std::string_view text, bool left = true, bool right = true);

}  // namespace elrea
