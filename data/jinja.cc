// Walks the tree. Scopes chain outwards; a loop's body and a macro's have their own, an if's has not.
#include "data/jinja.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "data/jinja_builtins.h"
#include "data/jinja_parser.h"

namespace elrea {
namespace {

using Expr = JinjaExpr::Kind;
using Node = JinjaNode::Kind;

// Far beyond any conversation, and little enough to stop a template that never would.
constexpr int64_t kMaxSteps = 2'000'000;
constexpr int64_t kStepsPerTurn = 40;  // what a turn of a loop counts for
constexpr size_t kMaxBytes = size_t{1} << 25;
constexpr int kMaxCalls = 50;

struct Scope {
  std::shared_ptr<Scope> outer;
  std::vector<std::pair<std::string, JinjaValue>> variables;

  void Set(const std::string& name, JinjaValue value) {
    for (auto& [known, old] : variables) {
      if (known == name) {
        old = std::move(value);
        return;
      }
    }
    variables.emplace_back(name, std::move(value));
  }
  const JinjaValue* Find(const std::string& name) const {
    for (const Scope* scope = this; scope != nullptr; scope = scope->outer.get()) {
      for (const auto& [known, value] : scope->variables) {
        if (known == name) return &value;
      }
    }
    return nullptr;
  }
};
using ScopePtr = std::shared_ptr<Scope>;

enum class Flow { kOn, kBreak, kContinue };

int64_t FloorDivide(int64_t a, int64_t b) {
  const int64_t quotient = a / b;
  return a % b != 0 && (a < 0) != (b < 0) ? quotient - 1 : quotient;
}

class Evaluator {
 public:
  explicit Evaluator(const JinjaContext& context) : root_(std::make_shared<Scope>()) {
    calls_.filter = [this](const std::string& name, const JinjaValue& value,
                           const JinjaArguments& arguments) { return Filter(name, value, arguments); };
    calls_.test = [this](const std::string& name, const JinjaValue& value, const JinjaArguments& arguments) {
      return Test(name, value, arguments);
    };
    for (auto& [name, value] : JinjaFunctions(context.now_s)) root_->Set(name, std::move(value));
    for (const auto& [name, value] : context.variables) root_->Set(name, value);
  }
  // A macro holds the scope that holds it.
  ~Evaluator() {
    for (const ScopePtr& scope : macro_scopes_) scope->variables.clear();
  }

  std::string Run(const JinjaBody& body) {
    try {
      ScopePtr scope = Inside(root_);
      std::string out;
      RunBody(body, scope, out);
      return out;
    } catch (const JinjaFault& fault) {
      ThrowJinja(at_, fault.what);
    }
  }

 private:
  static ScopePtr Inside(const ScopePtr& outer) {
    auto scope = std::make_shared<Scope>();
    scope->outer = outer;
    return scope;
  }

  void Step(JinjaPosition at) {
    at_ = at;
    if (++steps_ > kMaxSteps)
      throw JinjaFault{"the template does more work than any prompt needs; it may never end"};
  }

  static void Append(std::string& out, std::string_view text) {
    if (out.size() + text.size() > kMaxBytes) throw JinjaFault{"the prompt becomes too long"};
    out += text;
  }

  // ---- statements ----

  Flow RunBody(const JinjaBody& body, const ScopePtr& scope, std::string& out) {
    for (const auto& node : body) {
      Step(node->at);
      const Flow flow = RunNode(*node, scope, out);
      if (flow != Flow::kOn) return flow;
    }
    return Flow::kOn;
  }

  Flow RunNode(const JinjaNode& node, const ScopePtr& scope, std::string& out) {
    switch (node.kind) {
      case Node::kText:
        Append(out, node.text);
        return Flow::kOn;
      case Node::kPrint: {
        const JinjaValue value = Eval(*node.value, scope);
        at_ = node.value->at;
        Append(out, value.Str());
        return Flow::kOn;
      }
      case Node::kIf:
        for (const auto& [condition, body] : node.branches) {
          if (!condition || Eval(*condition, scope).Truth()) return RunBody(body, scope, out);
        }
        return Flow::kOn;
      case Node::kFor:
        return RunFor(node, scope, out);
      case Node::kSet:
        Assign(node.names, Eval(*node.value, scope), node.at, scope);
        return Flow::kOn;
      case Node::kSetAttr:
        SetAttribute(node, scope);
        return Flow::kOn;
      case Node::kSetBlock:
      case Node::kFilter:
        return RunCaptured(node, scope, out);
      case Node::kMacro:
        DefineMacro(node, scope);
        return Flow::kOn;
      case Node::kScope:
        return RunBody(node.body, Inside(scope), out);
      case Node::kBreak:
        return Flow::kBreak;
      case Node::kContinue:
        return Flow::kContinue;
    }
    return Flow::kOn;
  }

  void Assign(const std::vector<std::string>& names, const JinjaValue& value, JinjaPosition at,
              const ScopePtr& scope) {
    at_ = at;
    if (names.size() == 1) {
      scope->Set(names[0], value);
      return;
    }
    const JinjaList items = value.Iterate();
    if (items.size() != names.size()) {
      throw JinjaFault{fmt::format("{} values for {} names", items.size(), names.size())};
    }
    for (size_t i = 0; i < names.size(); ++i) scope->Set(names[i], items[i]);
  }

  void SetAttribute(const JinjaNode& node, const ScopePtr& scope) {
    JinjaValue value = Eval(*node.value, scope);
    at_ = node.at;
    const JinjaValue* target = scope->Find(node.names[0]);
    const auto* object = target ? target->As<std::shared_ptr<JinjaObject>>() : nullptr;
    if (object == nullptr || !(*object)->writable) {
      throw JinjaFault{
          fmt::format("\"{}\" is no namespace(), only attributes of such can be set", node.names[0])};
    }
    (*object)->Set(node.text, std::move(value));
  }

  // {% set x %}...{% endset %} and {% filter f %}...{% endfilter %}
  Flow RunCaptured(const JinjaNode& node, const ScopePtr& scope, std::string& out) {
    std::string text;
    const ScopePtr inner = Inside(scope);
    const Flow flow = RunBody(node.body, inner, text);
    JinjaValue value = std::move(text);
    if (node.value) {
      inner->Set("", value);
      value = Eval(*node.value, inner);
    }
    at_ = node.at;
    if (node.kind == Node::kFilter) {
      Append(out, value.Str());
    } else {
      scope->Set(node.names[0], std::move(value));
    }
    return flow;
  }

  Flow RunFor(const JinjaNode& node, const ScopePtr& scope, std::string& out) {
    const JinjaValue over = Eval(*node.value, scope);
    at_ = node.value->at;
    JinjaList items = over.Iterate();
    if (node.condition) {
      JinjaList kept;
      for (const JinjaValue& item : items) {
        const ScopePtr inner = Inside(scope);
        Assign(node.names, item, node.at, inner);
        if (Eval(*node.condition, inner).Truth()) kept.push_back(item);
      }
      items = std::move(kept);
    }
    if (items.empty()) return RunBody(node.otherwise, scope, out);
    auto changed = std::make_shared<std::optional<JinjaList>>();
    for (size_t i = 0; i < items.size(); ++i) {
      const ScopePtr inner = Inside(scope);
      Step(node.at);
      steps_ += kStepsPerTurn;
      Assign(node.names, items[i], node.at, inner);
      inner->Set("loop", LoopObject(items, i, changed, scope));
      if (RunBody(node.body, inner, out) == Flow::kBreak) break;
    }
    return Flow::kOn;
  }

  static JinjaValue LoopObject(const JinjaList& items, size_t i,
                               const std::shared_ptr<std::optional<JinjaList>>& changed, const ScopePtr&) {
    auto loop = std::make_shared<JinjaObject>();
    const auto index = static_cast<int64_t>(i), length = static_cast<int64_t>(items.size());
    loop->type = "loop";
    loop->attributes = {
        {"index", index + 1},
        {"index0", index},
        {"revindex", length - index},
        {"revindex0", length - index - 1},
        {"first", index == 0},
        {"last", index + 1 == length},
        {"length", length},
        {"depth", int64_t{1}},
        {"depth0", int64_t{0}},
        {"previtem", i > 0 ? items[i - 1] : JinjaValue::Undefined("loop.previtem")},
        {"nextitem", i + 1 < items.size() ? items[i + 1] : JinjaValue::Undefined("loop.nextitem")}};
    loop->attributes["cycle"] = JinjaValue::Function("loop.cycle", [i](const JinjaArguments& arguments) {
      if (arguments.positional.empty()) throw JinjaFault{"loop.cycle needs at least one value"};
      return arguments.positional[i % arguments.positional.size()];
    });
    loop->attributes["changed"] =
        JinjaValue::Function("loop.changed", [changed](const JinjaArguments& arguments) {
          const bool same =
              *changed && JinjaValue::List(**changed).Equals(JinjaValue::List(arguments.positional));
          *changed = arguments.positional;
          return JinjaValue(!same);
        });
    return loop;
  }

  void DefineMacro(const JinjaNode& node, const ScopePtr& scope) {
    macro_scopes_.push_back(scope);
    scope->Set(node.text,
               JinjaValue::Function(node.text, [this, &node, scope](const JinjaArguments& arguments) {
                 return CallMacro(node, scope, arguments);
               }));
  }

  JinjaValue CallMacro(const JinjaNode& node, const ScopePtr& scope, const JinjaArguments& arguments) {
    if (num_calls_ >= kMaxCalls)
      throw JinjaFault{fmt::format("macro \"{}\" calls itself too often", node.text)};
    const ScopePtr inner = Inside(scope);
    if (arguments.positional.size() > node.names.size()) {
      throw JinjaFault{fmt::format("macro \"{}\" takes {} arguments, not {}", node.text, node.names.size(),
                                   arguments.positional.size())};
    }
    for (const auto& [name, value] : arguments.named) {
      if (std::find(node.names.begin(), node.names.end(), name) == node.names.end()) {
        throw JinjaFault{fmt::format("macro \"{}\" has no argument \"{}\"", node.text, name)};
      }
    }
    for (size_t i = 0; i < node.names.size(); ++i) {
      const auto named = std::find_if(arguments.named.begin(), arguments.named.end(),
                                      [&](const auto& entry) { return entry.first == node.names[i]; });
      JinjaValue value = JinjaValue::Undefined(node.names[i]);
      if (i < arguments.positional.size()) {
        value = arguments.positional[i];
      } else if (named != arguments.named.end()) {
        value = named->second;
      } else if (node.defaults[i]) {
        value = Eval(*node.defaults[i], inner);
      }
      inner->Set(node.names[i], std::move(value));
    }
    ++num_calls_;
    std::string out;
    RunBody(node.body, inner, out);
    --num_calls_;
    return out;
  }

  // ---- expressions ----

  JinjaValue Eval(const JinjaExpr& expr, const ScopePtr& scope) {
    Step(expr.at);
    switch (expr.kind) {
      case Expr::kLiteral:
        return expr.literal;
      case Expr::kName: {
        const JinjaValue* found = scope->Find(expr.text);
        return found ? *found : JinjaValue::Undefined(expr.text);
      }
      case Expr::kList:
        return JinjaValue::List(EvalAll(expr, 0, scope));
      case Expr::kTuple:
        return JinjaValue::Tuple(EvalAll(expr, 0, scope));
      case Expr::kDict:
        return EvalDict(expr, scope);
      case Expr::kNot:
        return !Eval(*expr.args[0], scope).Truth();
      case Expr::kNegative:
      case Expr::kPositive:
        return EvalSign(expr, scope);
      case Expr::kAnd:
      case Expr::kOr: {
        JinjaValue left = Eval(*expr.args[0], scope);
        return left.Truth() == (expr.kind == Expr::kOr) ? left : Eval(*expr.args[1], scope);
      }
      case Expr::kBinary: {
        const JinjaValue left = Eval(*expr.args[0], scope), right = Eval(*expr.args[1], scope);
        at_ = expr.at;
        return Binary(expr.text, left, right);
      }
      case Expr::kCompare:
        return EvalCompare(expr, scope);
      case Expr::kConcat:
        return EvalConcat(expr, scope);
      case Expr::kCondition:
        if (Eval(*expr.args[0], scope).Truth()) return Eval(*expr.args[1], scope);
        return expr.args[2] ? Eval(*expr.args[2], scope) : JinjaValue::Undefined("an if without else");
      case Expr::kAttribute: {
        const JinjaValue value = Eval(*expr.args[0], scope);
        at_ = expr.at;
        return JinjaAttribute(value, expr.text);
      }
      case Expr::kItem: {
        const JinjaValue value = Eval(*expr.args[0], scope), key = Eval(*expr.args[1], scope);
        at_ = expr.at;
        return JinjaItem(value, key);
      }
      case Expr::kSlice:
        return EvalSlice(expr, scope);
      case Expr::kCall:
        return EvalCall(expr, scope);
      case Expr::kFilter: {
        const JinjaValue value = Eval(*expr.args[0], scope);
        const JinjaArguments arguments = EvalArguments(expr, scope);
        at_ = expr.at;
        return Filter(expr.text, value, arguments);
      }
      case Expr::kTest: {
        const JinjaValue value = Eval(*expr.args[0], scope);
        const JinjaArguments arguments = EvalArguments(expr, scope);
        at_ = expr.at;
        return Test(expr.text, value, arguments);
      }
    }
    return {};
  }

  JinjaList EvalAll(const JinjaExpr& expr, size_t first, const ScopePtr& scope) {
    JinjaList values;
    for (size_t i = first; i < expr.args.size(); ++i) values.push_back(Eval(*expr.args[i], scope));
    return values;
  }

  JinjaArguments EvalArguments(const JinjaExpr& expr, const ScopePtr& scope) {
    JinjaArguments arguments{EvalAll(expr, 1, scope), {}};
    for (const auto& [name, value] : expr.named) arguments.named.emplace_back(name, Eval(*value, scope));
    return arguments;
  }

  JinjaValue EvalDict(const JinjaExpr& expr, const ScopePtr& scope) {
    JinjaDict dict;
    for (size_t i = 0; i + 1 < expr.args.size(); i += 2) {
      JinjaValue key = Eval(*expr.args[i], scope), value = Eval(*expr.args[i + 1], scope);
      const auto known =
          std::find_if(dict.begin(), dict.end(), [&](const auto& entry) { return entry.first.Equals(key); });
      if (known != dict.end()) {
        known->second = std::move(value);
      } else {
        dict.emplace_back(std::move(key), std::move(value));
      }
    }
    return JinjaValue::Dict(std::move(dict));
  }

  JinjaValue EvalSign(const JinjaExpr& expr, const ScopePtr& scope) {
    const JinjaValue value = Eval(*expr.args[0], scope);
    at_ = expr.at;
    if (!value.IsNumber())
      throw JinjaFault{fmt::format("a sign before a value of type {}", value.TypeName())};
    if (!value.IsInteger()) return expr.kind == Expr::kNegative ? -value.AsDouble() : value.AsDouble();
    return expr.kind == Expr::kNegative ? Binary("-", int64_t{0}, value) : JinjaValue(value.AsInteger());
  }

  JinjaValue EvalConcat(const JinjaExpr& expr, const ScopePtr& scope) {
    std::string text;
    for (const auto& part : expr.args) Append(text, Eval(*part, scope).Str());
    return text;
  }

  JinjaValue EvalCompare(const JinjaExpr& expr, const ScopePtr& scope) {
    JinjaValue left = Eval(*expr.args[0], scope);
    for (size_t i = 0; i < expr.names.size(); ++i) {
      JinjaValue right = Eval(*expr.args[i + 1], scope);
      at_ = expr.at;
      if (!Compare(expr.names[i], left, right)) return false;
      left = std::move(right);
    }
    return true;
  }

  static bool Compare(const std::string& op, const JinjaValue& left, const JinjaValue& right) {
    if (op == "==") return left.Equals(right);
    if (op == "!=") return !left.Equals(right);
    if (op == "in") return right.Contains(left);
    if (op == "not in") return !right.Contains(left);
    if (op == "<") return left.Less(right);
    if (op == ">") return right.Less(left);
    if (op == "<=") return left.Equals(right) || left.Less(right);
    return left.Equals(right) || right.Less(left);
  }

  JinjaValue Binary(const std::string& op, const JinjaValue& left, const JinjaValue& right) {
    if (left.IsNumber() && right.IsNumber()) {
      return left.IsInteger() && right.IsInteger() && op != "/"
                 ? Integers(op, left.AsInteger(), right.AsInteger())
                 : Reals(op, left.AsDouble(), right.AsDouble());
    }
    if (op == "+" && left.text() && right.text()) {
      std::string text = *left.text();
      Append(text, *right.text());
      return text;
    }
    if (op == "+" && left.items() && right.items() && left.is_tuple() == right.is_tuple()) {
      JinjaList items = *left.items();
      items.insert(items.end(), right.items()->begin(), right.items()->end());
      steps_ += static_cast<int64_t>(items.size());
      return left.is_tuple() ? JinjaValue::Tuple(std::move(items)) : JinjaValue::List(std::move(items));
    }
    if (op == "*" && left.text() && right.IsInteger()) return Repeat(*left.text(), right.AsInteger());
    if (op == "*" && right.text() && left.IsInteger()) return Repeat(*right.text(), left.AsInteger());
    for (const JinjaValue* side : {&left, &right}) {
      if (const auto* undefined = side->As<JinjaUndefined>()) {
        throw JinjaFault{fmt::format("\"{}\" is undefined", undefined->name)};
      }
    }
    throw JinjaFault{fmt::format("the operator {} is not supported between values of types {} and {}", op,
                                 left.TypeName(), right.TypeName())};
  }

  static JinjaValue Repeat(const std::string& text, int64_t count) {
    if (count <= 0) return "";
    if (static_cast<uint64_t>(count) > kMaxBytes / (text.size() + 1))
      throw JinjaFault{"the text becomes too long"};
    std::string repeated;
    for (int64_t i = 0; i < count; ++i) repeated += text;
    return repeated;
  }

  static JinjaValue Integers(const std::string& op, int64_t a, int64_t b) {
    int64_t result = 0;
    bool overflows = false;
    if (op == "+") {
      overflows = __builtin_add_overflow(a, b, &result);
    } else if (op == "-") {
      overflows = __builtin_sub_overflow(a, b, &result);
    } else if (op == "*") {
      overflows = __builtin_mul_overflow(a, b, &result);
    } else if (op == "**") {
      return Power(a, b);
    } else if (b == 0) {
      throw JinjaFault{"division by zero"};
    } else if (a == INT64_MIN && b == -1) {
      overflows = true;
    } else {
      result = op == "//" ? FloorDivide(a, b) : a - FloorDivide(a, b) * b;
    }
    if (overflows) throw JinjaFault{"the number is too large"};
    return result;
  }

  static JinjaValue Power(int64_t base, int64_t exponent) {
    if (exponent < 0) return std::pow(static_cast<double>(base), static_cast<double>(exponent));
    int64_t result = 1;
    for (int64_t i = 0; i < exponent && base != 1; ++i) {
      if (__builtin_mul_overflow(result, base, &result)) throw JinjaFault{"the number is too large"};
      if (i > 64 && (base == 0 || base == -1))
        return base == 0 ? int64_t{0} : exponent % 2 == 0 ? int64_t{1} : int64_t{-1};
    }
    return result;
  }

  static JinjaValue Reals(const std::string& op, double a, double b) {
    if (op == "+") return a + b;
    if (op == "-") return a - b;
    if (op == "*") return a * b;
    if (op == "**") return std::pow(a, b);
    if (b == 0) throw JinjaFault{"division by zero"};
    if (op == "/") return a / b;
    if (op == "//") return std::floor(a / b);
    const double rest = std::fmod(a, b);
    return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
  }

  JinjaValue EvalSlice(const JinjaExpr& expr, const ScopePtr& scope) {
    const JinjaValue value = Eval(*expr.args[0], scope);
    std::optional<int64_t> bounds[3];
    for (size_t i = 0; i < 3; ++i) {
      if (!expr.args[i + 1]) continue;
      const JinjaValue bound = Eval(*expr.args[i + 1], scope);
      at_ = expr.at;
      if (bound.IsNone()) continue;
      if (!bound.IsInteger()) throw JinjaFault{"the bounds of a slice must be integers"};
      bounds[i] = bound.AsInteger();
    }
    at_ = expr.at;
    if (!value.text() && !value.items()) {
      throw JinjaFault{fmt::format("a value of type {} cannot be sliced", value.TypeName())};
    }
    const JinjaList items = value.Iterate();
    JinjaList kept;
    const auto length = static_cast<int64_t>(items.size());
    const int64_t step = bounds[2].value_or(1);
    if (step == 0 || step == INT64_MIN) throw JinjaFault{"the step of a slice cannot be this"};
    const auto place = [&](std::optional<int64_t> bound, int64_t fallback) {
      if (!bound) return fallback;
      const int64_t at = *bound < 0 ? std::max(*bound, -length - 1) + length : *bound;
      return step > 0 ? std::clamp<int64_t>(at, 0, length) : std::clamp<int64_t>(at, -1, length - 1);
    };
    const int64_t begin = place(bounds[0], step > 0 ? 0 : length - 1),
                  end = place(bounds[1], step > 0 ? length : -1);
    for (int64_t i = begin; step > 0 ? i < end : i > end;) {
      kept.push_back(items[static_cast<size_t>(i)]);
      if (__builtin_add_overflow(i, step, &i)) break;
    }
    if (!value.text())
      return value.is_tuple() ? JinjaValue::Tuple(std::move(kept)) : JinjaValue::List(std::move(kept));
    std::string text;
    for (const JinjaValue& c : kept) text += *c.text();
    return text;
  }

  JinjaValue EvalCall(const JinjaExpr& expr, const ScopePtr& scope) {
    const JinjaValue callee = Eval(*expr.args[0], scope);
    const JinjaArguments arguments = EvalArguments(expr, scope);
    at_ = expr.at;
    if (const auto* undefined = callee.As<JinjaUndefined>()) {
      throw JinjaFault{fmt::format("\"{}\" is undefined, so it cannot be called", undefined->name)};
    }
    const auto* function = callee.As<std::shared_ptr<const JinjaCallable>>();
    if (function == nullptr)
      throw JinjaFault{fmt::format("a value of type {} cannot be called", callee.TypeName())};
    return (*function)->call(arguments);
  }

  JinjaValue Filter(const std::string& name, const JinjaValue& value, const JinjaArguments& arguments) {
    auto result = ApplyJinjaFilter(name, value, arguments, calls_);
    if (!result) throw JinjaFault{fmt::format("the filter \"{}\" is not supported", name)};
    return *std::move(result);
  }

  bool Test(const std::string& name, const JinjaValue& value, const JinjaArguments& arguments) {
    const auto result = ApplyJinjaTest(name, value, arguments);
    if (!result) throw JinjaFault{fmt::format("the test \"{}\" is not supported", name)};
    return *result;
  }

  ScopePtr root_;
  std::vector<ScopePtr> macro_scopes_;
  JinjaCalls calls_;
  JinjaPosition at_;
  int64_t steps_ = 0;
  int num_calls_ = 0;
};

}  // namespace

JinjaTemplate::JinjaTemplate(const std::string& source) : body_(ParseJinja(source)) {}

std::string JinjaTemplate::Render(const JinjaContext& context) const { return Evaluator(context).Run(body_); }

}  // namespace elrea
