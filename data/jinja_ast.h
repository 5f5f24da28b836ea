// The tree of a Jinja template.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "data/jinja_lexer.h"
#include "data/jinja_value.h"

namespace elrea {

struct JinjaExpr;
using JinjaExprPtr = std::unique_ptr<JinjaExpr>;

struct JinjaExpr {
  enum class Kind {
    kLiteral,  // literal
    kName,     // text
    kList,     // args
    kTuple,    // args
    kDict,     // args: key, value, key, value, ...
    kNot,      // args[0]; so kNegative, kPositive
    kNegative,
    kPositive,
    kAnd,  // args[0], args[1]; so kOr
    kOr,
    kBinary,     // text is the operator; args[0], args[1]
    kCompare,    // args[0], and for each of `names`, the operators, one more
    kConcat,     // args, joined by ~
    kCondition,  // args: condition, then, else (null: undefined)
    kAttribute,  // args[0].text
    kItem,       // args[0][args[1]]
    kSlice,      // args[0][args[1]:args[2]:args[3]], null where left out
    kCall,       // args[0](the others, named)
    kFilter,     // args[0] | text(the others, named)
    kTest,       // args[0] is text(the others, named)
  };
  Kind kind;
  JinjaPosition at;
  std::string text;
  JinjaValue literal;
  std::vector<JinjaExprPtr> args;
  std::vector<std::pair<std::string, JinjaExprPtr>> named;
  std::vector<std::string> names;
};

struct JinjaNode;
using JinjaBody = std::vector<std::unique_ptr<JinjaNode>>;

struct JinjaNode {
  enum class Kind {
    kText,      // text
    kPrint,     // value
    kIf,        // branches: condition (null: else) and body
    kFor,       // names; value; condition (may be null); body; otherwise
    kSet,       // names (one, or several to unpack); value
    kSetAttr,   // names[0].text = value
    kSetBlock,  // names[0]; value: filters around a kName "" that stands for the body, or null
    kMacro,     // text; names, their defaults in `defaults` (null where there is none); body
    kFilter,    // value: as in kSetBlock; body
    kBreak,
    kContinue,
    kScope,  // body
  };
  Kind kind;
  JinjaPosition at;
  std::string text;
  std::vector<std::string> names;
  JinjaExprPtr value, condition;
  std::vector<JinjaExprPtr> defaults;
  JinjaBody body, otherwise;
  std::vector<std::pair<JinjaExprPtr, JinjaBody>> branches;
};

}  // namespace elrea
