// Chat templates as models carry them: a Jinja interpreter for the part of the language that they use, with
// the settings and functions that transformers gives them (trim_blocks, lstrip_blocks, loop controls, tojson,
// raise_exception, strftime_now). What it does not know is an error with line and column, never another
// prompt.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "data/jinja_ast.h"

namespace elrea {

struct JinjaContext {
  std::vector<std::pair<std::string, JinjaValue>> variables;
  std::optional<int64_t> now_s;  // what strftime_now tells, in seconds since 1970; absent: the clock
};

// Const-shareable.
class JinjaTemplate {
 public:
  // kInvalidInput with line and column. REQUIRES: valid UTF-8.
  explicit JinjaTemplate(const std::string& source);

  // kInvalidInput with line and column: what the template itself refuses with raise_exception, faults of
  // types and values, unknown filters, tests, functions and methods, and work beyond any real template's.
  std::string Render(const JinjaContext& context) const;

 private:
  JinjaBody body_;
};

}  // namespace elrea
