// Recursive descent; the precedence of operators is that of Jinja's own parser, which is not quite Python's.
#include "data/jinja_parser.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

namespace elrea {
namespace {

using Token = JinjaToken::Kind;
using Expr = JinjaExpr::Kind;
using Node = JinjaNode::Kind;

constexpr int kMaxDepth = 80;

JinjaExprPtr MakeExpr(Expr kind, JinjaPosition at, std::string text = "") {
  auto expr = std::make_unique<JinjaExpr>();
  expr->kind = kind;
  expr->at = at;
  expr->text = std::move(text);
  return expr;
}

std::unique_ptr<JinjaNode> MakeNode(Node kind, JinjaPosition at) {
  auto node = std::make_unique<JinjaNode>();
  node->kind = kind;
  node->at = at;
  return node;
}

class Parser {
 public:
  explicit Parser(std::string_view source) : tokens_(LexJinja(source)) {}

  JinjaBody Run() {
    JinjaBody body = ParseBody({});
    if (Now().kind != Token::kEnd) Unexpected();
    return body;
  }

 private:
  // Bounds the recursion of the parser and of all that walks the tree later.
  class Level {
   public:
    explicit Level(Parser& parser) : parser_(parser) {
      if (++parser.depth_ > kMaxDepth) parser.Fail("the template is nested too deeply here");
    }
    ~Level() { --parser_.depth_; }

   private:
    Parser& parser_;
  };

  const JinjaToken& Now() const { return tokens_[next_]; }
  const JinjaToken& Ahead() const { return tokens_[std::min(next_ + 1, tokens_.size() - 1)]; }
  JinjaToken Take() { return tokens_[next_ + 1 < tokens_.size() ? next_++ : next_]; }
  [[noreturn]] void Fail(const std::string& fault) const { ThrowJinja(Now().at, fault); }
  [[noreturn]] void Unexpected(const std::string& wanted = "") const {
    const std::string hint = wanted.empty() ? "" : ", expected " + wanted;
    switch (Now().kind) {
      case Token::kEnd:
        Fail("the template ends too early" + hint);
      case Token::kTagEnd:
      case Token::kPrintEnd:
        Fail("the tag ends too early" + hint);
      default:
        Fail(fmt::format("unexpected \"{}\"{}", Now().text, hint));
    }
  }

  bool IsOp(std::string_view op) const { return Now().kind == Token::kOperator && Now().text == op; }
  bool IsName(std::string_view name) const { return Now().kind == Token::kName && Now().text == name; }
  bool SkipOp(std::string_view op) { return IsOp(op) ? (Take(), true) : false; }
  bool SkipName(std::string_view name) { return IsName(name) ? (Take(), true) : false; }
  void ExpectOp(std::string_view op) {
    if (!SkipOp(op)) Unexpected(fmt::format("\"{}\"", op));
  }
  std::string ExpectName() {
    if (Now().kind != Token::kName) Unexpected("a name");
    return Take().text;
  }
  void ExpectTagEnd() {
    if (Now().kind != Token::kTagEnd) Unexpected("the end of the tag");
    Take();
  }

  // ---- statements ----

  // Up to a tag named one of `ends`, whose name is taken but not what follows it.
  JinjaBody ParseBody(const std::vector<std::string_view>& ends) {
    const Level level(*this);
    JinjaBody body;
    for (;;) {
      const JinjaToken token = Now();
      if (token.kind == Token::kText) {
        body.push_back(MakeNode(Node::kText, token.at));
        body.back()->text = Take().text;
      } else if (token.kind == Token::kPrintBegin) {
        Take();
        body.push_back(MakeNode(Node::kPrint, token.at));
        body.back()->value = ParseTuple();
        if (Now().kind != Token::kPrintEnd) Unexpected("the end of the print tag");
        Take();
      } else if (token.kind == Token::kTagBegin) {
        Take();
        if (std::find(ends.begin(), ends.end(), Now().text) != ends.end() && Now().kind == Token::kName)
          return body;
        body.push_back(ParseTag());
      } else if (ends.empty()) {
        return body;
      } else {
        Unexpected(fmt::format("{{% {} %}}", ends.back()));
      }
    }
  }

  // A body that ends with {% end %}.
  JinjaBody ParseBlock(std::string_view end) {
    ExpectTagEnd();
    JinjaBody body = ParseBody({end});
    Take();
    ExpectTagEnd();
    return body;
  }

  std::unique_ptr<JinjaNode> ParseTag() {
    const JinjaPosition at = Now().at;
    const std::string name = ExpectName();
    if (name == "if") return ParseIf(at);
    if (name == "for") return ParseFor(at);
    if (name == "set") return ParseSet(at);
    if (name == "macro") return ParseMacro(at);
    if (name == "filter") {
      auto node = MakeNode(Node::kFilter, at);
      node->value = ParseFilterChain(MakeExpr(Expr::kName, at));
      node->body = ParseBlock("endfilter");
      return node;
    }
    if (name == "generation") {  // marks what the assistant said; prints it
      auto node = MakeNode(Node::kScope, at);
      node->body = ParseBlock("endgeneration");
      return node;
    }
    if (name == "break" || name == "continue") {
      if (num_loops_ == 0) ThrowJinja(at, fmt::format("{{% {} %}} outside of a loop", name));
      ExpectTagEnd();
      return MakeNode(name == "break" ? Node::kBreak : Node::kContinue, at);
    }
    ThrowJinja(at,
               fmt::format("the tag {{% {} %}} is not supported (if, for, set, macro, filter, raw, break, "
                           "continue and generation are)",
                           name));
  }

  std::unique_ptr<JinjaNode> ParseIf(JinjaPosition at) {
    auto node = MakeNode(Node::kIf, at);
    JinjaExprPtr condition = ParseTuple();
    for (;;) {
      ExpectTagEnd();
      JinjaBody body = ParseBody({"elif", "else", "endif"});
      const bool was_else = condition == nullptr;
      node->branches.emplace_back(std::move(condition), std::move(body));
      const JinjaToken end = Take();
      if (end.text == "endif") break;
      if (was_else) ThrowJinja(end.at, fmt::format("{{% {} %}} behind {{% else %}}", end.text));
      if (end.text == "elif") condition = ParseTuple();
    }
    ExpectTagEnd();
    return node;
  }

  std::vector<std::string> ParseTargets() {
    std::vector<std::string> names;
    const bool brackets = SkipOp("(");
    do {
      if (IsName("in")) break;
      names.push_back(ExpectName());
    } while (SkipOp(","));
    if (brackets) ExpectOp(")");
    return names;
  }

  std::unique_ptr<JinjaNode> ParseFor(JinjaPosition at) {
    auto node = MakeNode(Node::kFor, at);
    node->names = ParseTargets();
    if (!SkipName("in")) Unexpected("\"in\"");
    node->value = ParseTuple(false);
    if (SkipName("if")) node->condition = ParseExpr();
    if (IsName("recursive")) Fail("recursive loops are not supported");
    ExpectTagEnd();
    ++num_loops_;
    node->body = ParseBody({"else", "endfor"});
    --num_loops_;
    if (Take().text == "else") {
      ExpectTagEnd();
      node->otherwise = ParseBody({"endfor"});
      Take();
    }
    ExpectTagEnd();
    return node;
  }

  std::unique_ptr<JinjaNode> ParseSet(JinjaPosition at) {
    auto node = MakeNode(Node::kSet, at);
    node->names = ParseTargets();
    if (node->names.size() == 1 && SkipOp(".")) {
      node->kind = Node::kSetAttr;
      node->text = ExpectName();
    }
    if (SkipOp("=")) {
      node->value = ParseTuple();
      ExpectTagEnd();
      return node;
    }
    if (node->kind == Node::kSetAttr || node->names.size() != 1) Unexpected("\"=\"");
    node->kind = Node::kSetBlock;
    if (IsOp("|")) {
      node->value = ParseFilters(MakeExpr(Expr::kName, at));
    }
    node->body = ParseBlock("endset");
    return node;
  }

  std::unique_ptr<JinjaNode> ParseMacro(JinjaPosition at) {
    auto node = MakeNode(Node::kMacro, at);
    node->text = ExpectName();
    ExpectOp("(");
    while (!IsOp(")")) {
      node->names.push_back(ExpectName());
      node->defaults.push_back(SkipOp("=") ? ParseExpr() : nullptr);
      if (!SkipOp(",")) break;
    }
    ExpectOp(")");
    const int loops = std::exchange(num_loops_, 0);
    node->body = ParseBlock("endmacro");
    num_loops_ = loops;
    return node;
  }

  // ---- expressions ----

  // `a, b` without brackets is a tuple; a for loop's `if` belongs to the loop.
  JinjaExprPtr ParseTuple(bool with_condition = true) {
    const JinjaPosition at = Now().at;
    JinjaExprPtr first = with_condition ? ParseExpr() : ParseOr();
    if (!IsOp(",")) return first;
    JinjaExprPtr tuple = MakeExpr(Expr::kTuple, at);
    tuple->args.push_back(std::move(first));
    while (SkipOp(",")) {
      if (Now().kind == Token::kTagEnd || Now().kind == Token::kPrintEnd || IsOp(")")) break;
      tuple->args.push_back(with_condition ? ParseExpr() : ParseOr());
    }
    return tuple;
  }

  JinjaExprPtr ParseExpr() {
    const Level level(*this);
    JinjaExprPtr value = ParseOr();
    while (IsName("if")) {
      JinjaExprPtr choice = MakeExpr(Expr::kCondition, Take().at);
      choice->args.push_back(ParseOr());
      choice->args.push_back(std::move(value));
      choice->args.push_back(SkipName("else") ? ParseExpr() : nullptr);
      value = std::move(choice);
    }
    return value;
  }

  // Left-associative operators of one precedence. A chain is as deep a tree as it is long.
  template <typename Operand, typename Match>
  JinjaExprPtr ParseChain(Expr kind, const Operand& operand, const Match& match) {
    JinjaExprPtr left = operand();
    int length = 0;
    while (match()) {
      if (++length > kMaxChain) Fail("too many operators in a row");
      const JinjaToken op = Take();
      JinjaExprPtr both = MakeExpr(kind, op.at, op.text);
      both->args.push_back(std::move(left));
      both->args.push_back(operand());
      left = std::move(both);
    }
    return left;
  }

  JinjaExprPtr ParseOr() {
    return ParseChain(
        Expr::kOr, [&] { return ParseAnd(); }, [&] { return IsName("or"); });
  }
  JinjaExprPtr ParseAnd() {
    return ParseChain(
        Expr::kAnd, [&] { return ParseNot(); }, [&] { return IsName("and"); });
  }

  JinjaExprPtr ParseNot() {
    if (!IsName("not")) return ParseCompare();
    const Level level(*this);
    JinjaExprPtr inverse = MakeExpr(Expr::kNot, Take().at);
    inverse->args.push_back(ParseNot());
    return inverse;
  }

  std::optional<std::string> TakeComparison() {
    for (const std::string_view op : {"==", "!=", "<", "<=", ">", ">="}) {
      if (IsOp(op)) return Take().text;
    }
    if (IsName("in")) return Take().text;
    if (IsName("not") && Ahead().kind == Token::kName && Ahead().text == "in")
      return Take(), Take(), "not in";
    return std::nullopt;
  }

  JinjaExprPtr ParseCompare() {
    const JinjaPosition at = Now().at;
    JinjaExprPtr first = ParseSum();
    auto op = TakeComparison();
    if (!op) return first;
    JinjaExprPtr compare = MakeExpr(Expr::kCompare, at);
    compare->args.push_back(std::move(first));
    for (; op; op = TakeComparison()) {
      compare->names.push_back(*op);
      compare->args.push_back(ParseSum());
    }
    return compare;
  }

  JinjaExprPtr ParseSum() {
    return ParseChain(
        Expr::kBinary, [&] { return ParseConcat(); }, [&] { return IsOp("+") || IsOp("-"); });
  }

  JinjaExprPtr ParseConcat() {
    const JinjaPosition at = Now().at;
    JinjaExprPtr first = ParseProduct();
    if (!IsOp("~")) return first;
    JinjaExprPtr concat = MakeExpr(Expr::kConcat, at);
    concat->args.push_back(std::move(first));
    while (SkipOp("~")) concat->args.push_back(ParseProduct());
    return concat;
  }

  JinjaExprPtr ParseProduct() {
    return ParseChain(
        Expr::kBinary, [&] { return ParsePower(); },
        [&] { return IsOp("*") || IsOp("/") || IsOp("//") || IsOp("%"); });
  }

  JinjaExprPtr ParsePower() {
    return ParseChain(
        Expr::kBinary, [&] { return ParseUnary(true); }, [&] { return IsOp("**"); });
  }

  JinjaExprPtr ParseUnary(bool with_filters) {
    const Level level(*this);
    JinjaExprPtr value;
    if (IsOp("-") || IsOp("+")) {
      value = MakeExpr(IsOp("-") ? Expr::kNegative : Expr::kPositive, Now().at);
      Take();
      value->args.push_back(ParseUnary(false));
    } else {
      value = ParsePostfix(ParsePrimary());
    }
    return with_filters ? ParseFilters(std::move(value)) : std::move(value);
  }

  JinjaExprPtr ParsePrimary() {
    const JinjaToken token = Now();
    switch (token.kind) {
      case Token::kName:
        Take();
        return ParseNamed(token);
      case Token::kString: {
        JinjaExprPtr literal = MakeExpr(Expr::kLiteral, token.at);
        std::string text;
        while (Now().kind == Token::kString) text += Take().text;  // neighbours are one
        literal->literal = std::move(text);
        return literal;
      }
      case Token::kInteger:
      case Token::kFloat:
        return ParseNumber(Take());
      default:
        break;
    }
    if (IsOp("(")) return ParseBrackets();
    if (IsOp("[")) return ParseList();
    if (IsOp("{")) return ParseDict();
    Unexpected("a value");
  }

  JinjaExprPtr ParseNamed(const JinjaToken& token) {
    static const std::pair<const char*, JinjaValue> kConstants[] = {
        {"true", true},   {"True", true},        {"false", false},
        {"False", false}, {"none", JinjaNone{}}, {"None", JinjaNone{}}};
    for (const auto& [name, value] : kConstants) {
      if (token.text != name) continue;
      JinjaExprPtr literal = MakeExpr(Expr::kLiteral, token.at);
      literal->literal = value;
      return literal;
    }
    for (const char* name : {"caller", "varargs", "kwargs", "self", "super"}) {
      if (token.text == name) ThrowJinja(token.at, fmt::format("\"{}\" is not supported", name));
    }
    return MakeExpr(Expr::kName, token.at, token.text);
  }

  JinjaExprPtr ParseNumber(const JinjaToken& token) {
    JinjaExprPtr literal = MakeExpr(Expr::kLiteral, token.at);
    const char *begin = token.text.data(), *end = begin + token.text.size();
    int64_t integer = 0;
    double real = 0;
    const bool fits = token.kind == Token::kInteger ? std::from_chars(begin, end, integer).ec == std::errc{}
                                                    : std::from_chars(begin, end, real).ec == std::errc{};
    if (!fits) ThrowJinja(token.at, "the number is too large");
    literal->literal = token.kind == Token::kInteger ? JinjaValue(integer) : JinjaValue(real);
    return literal;
  }

  JinjaExprPtr ParseBrackets() {
    const JinjaPosition at = Take().at;
    if (SkipOp(")")) return MakeExpr(Expr::kTuple, at);
    JinjaExprPtr value = ParseTuple();
    ExpectOp(")");
    return value;
  }

  JinjaExprPtr ParseList() {
    JinjaExprPtr list = MakeExpr(Expr::kList, Take().at);
    while (!IsOp("]")) {
      list->args.push_back(ParseExpr());
      if (!SkipOp(",")) break;
    }
    ExpectOp("]");
    return list;
  }

  JinjaExprPtr ParseDict() {
    JinjaExprPtr dict = MakeExpr(Expr::kDict, Take().at);
    while (!IsOp("}")) {
      dict->args.push_back(ParseExpr());
      ExpectOp(":");
      dict->args.push_back(ParseExpr());
      if (!SkipOp(",")) break;
    }
    ExpectOp("}");
    return dict;
  }

  JinjaExprPtr ParsePostfix(JinjaExprPtr value) {
    for (int length = 0;; ++length) {
      if (length > kMaxChain) Fail("too many operators in a row");
      const JinjaPosition at = Now().at;
      if (SkipOp(".")) {
        if (Now().kind == Token::kInteger) Fail("write [N], not .N, for an item");
        JinjaExprPtr attribute = MakeExpr(Expr::kAttribute, at, ExpectName());
        attribute->args.push_back(std::move(value));
        value = std::move(attribute);
      } else if (SkipOp("[")) {
        value = ParseSubscript(std::move(value), at);
      } else if (IsOp("(")) {
        JinjaExprPtr call = MakeExpr(Expr::kCall, at);
        call->args.push_back(std::move(value));
        ParseArguments(*call);
        value = std::move(call);
      } else {
        return value;
      }
    }
  }

  JinjaExprPtr ParseSubscript(JinjaExprPtr value, JinjaPosition at) {
    JinjaExprPtr item = MakeExpr(Expr::kItem, at);
    item->args.push_back(std::move(value));
    const auto part = [&] { item->args.push_back(IsOp(":") || IsOp("]") ? nullptr : ParseExpr()); };
    part();
    if (IsOp("]") && item->args[1] == nullptr) Unexpected("an index");
    while (item->args.size() < 4 && SkipOp(":")) {
      item->kind = Expr::kSlice;
      part();
    }
    if (item->kind == Expr::kSlice) item->args.resize(4);
    ExpectOp("]");
    return item;
  }

  void ParseArguments(JinjaExpr& call) {
    ExpectOp("(");
    while (!IsOp(")")) {
      if (IsOp("*") || IsOp("**")) Fail("unpacking arguments is not supported");
      if (Now().kind == Token::kName && Ahead().kind == Token::kOperator && Ahead().text == "=") {
        std::string name = Take().text;
        Take();
        call.named.emplace_back(std::move(name), ParseExpr());
      } else {
        if (!call.named.empty()) Fail("an argument without a name behind one with");
        call.args.push_back(ParseExpr());
      }
      if (!SkipOp(",")) break;
    }
    ExpectOp(")");
  }

  // | filter, is test, and calls of what they give.
  JinjaExprPtr ParseFilters(JinjaExprPtr value) {
    for (int length = 0;; ++length) {
      if (length > kMaxChain) Fail("too many filters in a row");
      if (SkipOp("|")) {
        value = ParseOneFilter(std::move(value));
      } else if (IsName("is")) {
        value = ParseTest(std::move(value));
      } else if (IsOp("(")) {
        JinjaExprPtr call = MakeExpr(Expr::kCall, Now().at);
        call->args.push_back(std::move(value));
        ParseArguments(*call);
        value = std::move(call);
      } else {
        return value;
      }
    }
  }

  JinjaExprPtr ParseOneFilter(JinjaExprPtr value) {
    const JinjaPosition at = Now().at;
    JinjaExprPtr filter = MakeExpr(Expr::kFilter, at, ExpectName());
    filter->args.push_back(std::move(value));
    if (IsOp("(")) ParseArguments(*filter);
    return filter;
  }

  // {% filter a | b %}: the first without a bar.
  JinjaExprPtr ParseFilterChain(JinjaExprPtr value) { return ParseFilters(ParseOneFilter(std::move(value))); }

  JinjaExprPtr ParseTest(JinjaExprPtr value) {
    Take();
    const bool inverse = SkipName("not");
    const JinjaPosition at = Now().at;  // before the name is taken
    JinjaExprPtr test = MakeExpr(Expr::kTest, at, ExpectName());
    test->args.push_back(std::move(value));
    const Token kind = Now().kind;
    const bool operand = kind == Token::kString || kind == Token::kInteger || kind == Token::kFloat ||
                         IsOp("[") || IsOp("{") ||
                         (kind == Token::kName && !IsName("else") && !IsName("or") && !IsName("and") &&
                          !IsName("if") && !IsName("in") && !IsName("not") && !IsName("is"));
    if (IsOp("(")) {
      ParseArguments(*test);
    } else if (operand) {
      test->args.push_back(ParsePostfix(ParsePrimary()));
    } else if (IsName("is")) {
      Fail("tests cannot be chained with \"is\"");
    }
    if (!inverse) return test;
    JinjaExprPtr inverted = MakeExpr(Expr::kNot, test->at);
    inverted->args.push_back(std::move(test));
    return inverted;
  }

  static constexpr int kMaxChain = 100;
  std::vector<JinjaToken> tokens_;
  size_t next_ = 0;
  int depth_ = 0, num_loops_ = 0;
};

}  // namespace

JinjaBody ParseJinja(std::string_view source) { return Parser(source).Run(); }

}  // namespace elrea
