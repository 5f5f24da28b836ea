// The filters of Jinja that chat templates use, each with the arguments of the original.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "core/text.h"
#include "data/jinja_builtins.h"
#include "data/jinja_lexer.h"
#include "data/jinja_methods.h"

namespace elrea {
namespace {

using Reader = JinjaArgumentReader;

const std::string& TextOf(const JinjaValue& value, const char* filter) {
  if (value.text()) return *value.text();
  throw JinjaFault{fmt::format("the filter \"{}\" wants a string, not {}", filter, value.TypeName())};
}

// "a.b.0": attributes, and items of lists. `fallback`, if any, stands for what is undefined on the way.
JinjaValue Lookup(JinjaValue value, const std::string& path, const JinjaValue* fallback = nullptr) {
  for (const std::string& part : Split(path, '.')) {
    const bool index =
        !part.empty() && std::all_of(part.begin(), part.end(), [](char c) { return c >= '0' && c <= '9'; });
    int64_t number = 0;
    if (index) std::from_chars(part.data(), part.data() + part.size(), number);
    value = JinjaItem(value, index ? JinjaValue(number) : JinjaValue(part));
    if (value.IsUndefined() && fallback != nullptr) value = *fallback;
  }
  return value;
}

JinjaValue ToJson(const JinjaValue& value, Reader& reader) {
  const bool ascii = reader.Flag("ensure_ascii", false);
  const JinjaValue* indent = reader.Next("indent");
  const JinjaValue* separators = reader.Next("separators");
  const bool sort_keys = reader.Flag("sort_keys", false);
  const bool lines = indent != nullptr && !indent->IsNone();
  if (lines && (!indent->IsInteger() || indent->AsInteger() < 0 || indent->AsInteger() > 64)) {
    throw JinjaFault{"tojson: indent must be 0 to 64"};
  }
  std::string item = lines ? "," : ", ", key = ": ";
  if (separators != nullptr && !separators->IsNone()) {
    const JinjaList parts = separators->Iterate();
    if (parts.size() != 2) throw JinjaFault{"tojson: separators must be two strings"};
    item = TextOf(parts[0], "tojson");
    key = TextOf(parts[1], "tojson");
  }
  return JinjaToJson(value, lines ? indent->AsInteger() : -1, sort_keys, ascii, item, key);
}

JinjaValue Default(const JinjaValue& value, Reader& reader) {
  const JinjaValue* fallback = reader.Next("default_value");
  const bool also_false = reader.Flag("boolean", false);
  if (!value.IsUndefined() && !(also_false && !value.Truth())) return value;
  return fallback ? *fallback : JinjaValue("");
}

JinjaValue JoinFilter(const JinjaValue& value, Reader& reader) {
  const std::string separator = reader.Text("d", ""), attribute = reader.Text("attribute", "");
  std::string text;
  bool first = true;
  for (const JinjaValue& item : value.Iterate()) {
    if (!std::exchange(first, false)) text += separator;
    text += (attribute.empty() ? item : Lookup(item, attribute)).Str();
  }
  return text;
}

JinjaValue ToInteger(const JinjaValue& value, Reader& reader) {
  const JinjaValue* given = reader.Next("default");
  const JinjaValue fallback = given ? *given : JinjaValue(int64_t{0});
  if (value.IsInteger()) return value.AsInteger();
  double number = 0;
  if (value.IsNumber()) {
    number = value.AsDouble();
  } else if (value.text()) {
    const std::string text(PythonStrip(*value.text()));
    int64_t integer = 0;
    const char *begin = text.data() + (text.starts_with('+') ? 1 : 0), *end = text.data() + text.size();
    if (const auto read = std::from_chars(begin, end, integer); read.ec == std::errc{} && read.ptr == end)
      return integer;
    const auto read = std::from_chars(begin, end, number);
    if (read.ec != std::errc{} || read.ptr != end) return fallback;
  } else {
    return fallback;
  }
  return std::fabs(number) < 9e18 ? JinjaValue(static_cast<int64_t>(number)) : fallback;
}

JinjaValue ToFloat(const JinjaValue& value, Reader& reader) {
  const JinjaValue* given = reader.Next("default");
  if (value.IsNumber()) return value.AsDouble();
  double number = 0;
  if (value.text()) {
    const std::string text(PythonStrip(*value.text()));
    const auto read = std::from_chars(text.data(), text.data() + text.size(), number);
    if (read.ec == std::errc{} && read.ptr == text.data() + text.size()) return number;
  }
  return given ? *given : JinjaValue(0.0);
}

JinjaValue Indent(const JinjaValue& value, Reader& reader) {
  const JinjaValue* width = reader.Next("width");
  const bool first = reader.Flag("first", false), blank = reader.Flag("blank", false);
  std::string indent(4, ' ');
  if (width != nullptr && width->text()) {
    indent = *width->text();
  } else if (width != nullptr) {
    if (!width->IsInteger() || width->AsInteger() < 0 || width->AsInteger() > 1000) {
      throw JinjaFault{"indent: width must be 0 to 1000"};
    }
    indent.assign(static_cast<size_t>(width->AsInteger()), ' ');
  }
  std::string text;
  bool at_first = true;
  for (const std::string& line : Split(TextOf(value, "indent"), '\n')) {
    const bool indented = at_first ? first : blank || !line.empty();
    if (!std::exchange(at_first, false)) text += '\n';
    text += (indented ? indent : "") + line;
  }
  return text;
}

JinjaValue MapFilter(const JinjaValue& value, const JinjaArguments& arguments, const JinjaCalls& calls) {
  JinjaList mapped;
  if (arguments.positional.empty()) {
    Reader reader("map", arguments);
    const std::string attribute = reader.Need("attribute").Str();
    const JinjaValue* fallback = reader.Next("default");
    reader.End();
    for (const JinjaValue& item : value.Iterate()) mapped.push_back(Lookup(item, attribute, fallback));
    return JinjaValue::List(std::move(mapped));
  }
  const JinjaArguments rest{{arguments.positional.begin() + 1, arguments.positional.end()}, arguments.named};
  const std::string name = TextOf(arguments.positional[0], "map");
  for (const JinjaValue& item : value.Iterate()) mapped.push_back(calls.filter(name, item, rest));
  return JinjaValue::List(std::move(mapped));
}

// Tests may be named by operators here.
std::string TestName(const std::string& name) {
  static constexpr std::pair<const char*, const char*> kOperators[] = {
      {"==", "eq"}, {"!=", "ne"}, {"<", "lt"}, {"<=", "le"}, {">", "gt"}, {">=", "ge"}};
  for (const auto& [op, test] : kOperators) {
    if (name == op) return test;
  }
  return name;
}

// select, reject, selectattr, rejectattr.
JinjaValue Select(const std::string& filter, const JinjaValue& value, const JinjaArguments& arguments,
                  const JinjaCalls& calls) {
  const bool by_attribute = filter.ends_with("attr"), wanted = filter.starts_with("select");
  JinjaList rest = arguments.positional;
  const auto take = [&] {
    const std::string text = TextOf(rest.front(), filter.c_str());
    rest.erase(rest.begin());
    return text;
  };
  if (by_attribute && rest.empty()) throw JinjaFault{fmt::format("{} needs an attribute", filter)};
  const std::string attribute = by_attribute ? take() : "", test = rest.empty() ? "" : take();
  JinjaList kept;
  for (const JinjaValue& item : value.Iterate()) {
    const JinjaValue looked_at = by_attribute ? Lookup(item, attribute) : item;
    if ((test.empty() ? looked_at.Truth() : calls.test(TestName(test), looked_at, {rest, {}})) == wanted) {
      kept.push_back(item);
    }
  }
  return JinjaValue::List(std::move(kept));
}

// Python sorts and compares strings without their case unless told otherwise.
JinjaValue SortKey(const JinjaValue& value, bool case_sensitive) {
  return value.text() && !case_sensitive ? JinjaValue(PythonLower(*value.text())) : value;
}

JinjaValue DictSort(const JinjaValue& value, Reader& reader) {
  const bool case_sensitive = reader.Flag("case_sensitive", false);
  const std::string by = reader.Text("by", "key");
  const bool reverse = reader.Flag("reverse", false);
  if (!value.dict() || (by != "key" && by != "value"))
    throw JinjaFault{"dictsort wants a dictionary, by key or value"};
  JinjaDict entries = *value.dict();
  const auto less = [&](const auto& a, const auto& b) {
    return SortKey(by == "key" ? a.first : a.second, case_sensitive)
        .Less(SortKey(by == "key" ? b.first : b.second, case_sensitive));
  };
  std::stable_sort(entries.begin(), entries.end(),
                   [&](const auto& a, const auto& b) { return reverse ? less(b, a) : less(a, b); });
  JinjaList items;
  for (auto& [key, entry] : entries) items.push_back(JinjaValue::Tuple({key, entry}));
  return JinjaValue::List(std::move(items));
}

JinjaValue Sort(const JinjaValue& value, Reader& reader) {
  const bool reverse = reader.Flag("reverse", false), case_sensitive = reader.Flag("case_sensitive", false);
  const std::string attribute = reader.Text("attribute", "");
  JinjaList items = value.Iterate();
  const auto key = [&](const JinjaValue& item) {
    return SortKey(attribute.empty() ? item : Lookup(item, attribute), case_sensitive);
  };
  std::stable_sort(items.begin(), items.end(), [&](const JinjaValue& a, const JinjaValue& b) {
    return reverse ? key(b).Less(key(a)) : key(a).Less(key(b));
  });
  return JinjaValue::List(std::move(items));
}

JinjaValue Unique(const JinjaValue& value, Reader& reader) {
  const bool case_sensitive = reader.Flag("case_sensitive", false);
  JinjaList kept, keys;
  for (const JinjaValue& item : value.Iterate()) {
    JinjaValue key = SortKey(item, case_sensitive);
    if (std::any_of(keys.begin(), keys.end(), [&](const JinjaValue& seen) { return seen.Equals(key); }))
      continue;
    keys.push_back(std::move(key));
    kept.push_back(item);
  }
  return JinjaValue::List(std::move(kept));
}

JinjaValue Extreme(const JinjaValue& value, bool largest) {
  const JinjaList items = value.Iterate();
  if (items.empty()) return JinjaValue::Undefined("the extreme of nothing");
  const JinjaValue* best = &items[0];
  for (const JinjaValue& item : items) {
    const JinjaValue a = SortKey(item, false), b = SortKey(*best, false);
    if (largest ? b.Less(a) : a.Less(b)) best = &item;
  }
  return *best;
}

JinjaValue Escape(const JinjaValue& value) {
  std::string text;
  for (const char c : value.Str()) {
    text += c == '&'    ? "&amp;"
            : c == '<'  ? "&lt;"
            : c == '>'  ? "&gt;"
            : c == '"'  ? "&#34;"
            : c == '\'' ? "&#39;"
                        : std::string(1, c);
  }
  return text;
}

JinjaValue Reverse(const JinjaValue& value) {
  JinjaList items = value.Iterate();
  std::reverse(items.begin(), items.end());
  if (!value.text()) return JinjaValue::List(std::move(items));
  std::string text;
  for (const JinjaValue& c : items) text += *c.text();
  return text;
}

JinjaValue Edge(const JinjaValue& value, bool first) {
  const JinjaList items = value.Iterate();
  if (items.empty()) return JinjaValue::Undefined(first ? "the first of nothing" : "the last of nothing");
  return first ? items.front() : items.back();
}

JinjaValue Items(const JinjaValue& value) {
  if (value.IsUndefined()) return JinjaValue::List({});
  if (!value.dict()) throw JinjaFault{"the filter \"items\" wants a dictionary"};
  JinjaList items;
  for (const auto& [key, entry] : *value.dict()) items.push_back(JinjaValue::Tuple({key, entry}));
  return JinjaValue::List(std::move(items));
}

JinjaValue Abs(const JinjaValue& value) {
  if (!value.IsNumber()) throw JinjaFault{"the filter \"abs\" wants a number"};
  if (!value.IsInteger()) return std::fabs(value.AsDouble());
  if (value.AsInteger() == INT64_MIN) throw JinjaFault{"the number is too large"};
  return std::abs(value.AsInteger());
}

// Jinja's own rule for words, which is not that of str.title: they end at white space and at "-({[<".
JinjaValue TitleWords(const std::string& text) {
  std::string title;
  size_t begin = 0;
  for (size_t pos = 0; pos <= text.size(); ++pos) {
    if (pos < text.size() && std::string_view(" \t\n\r\v\f-({[<").find(text[pos]) == std::string_view::npos)
      continue;
    title += PythonCapitalize(std::string_view(text).substr(begin, pos - begin));
    if (pos < text.size()) title += text[pos];
    begin = pos + 1;
  }
  return title;
}

// A filter that reads its arguments one after the other.
std::optional<JinjaValue> Plain(const std::string& name, const JinjaValue& value, Reader& reader) {
  if (name == "trim") return PythonStripped(value.Str(), reader.Next("chars"), true, true);
  if (name == "upper") return PythonUpper(value.Str());
  if (name == "lower") return PythonLower(value.Str());
  if (name == "capitalize") return PythonCapitalize(value.Str());
  if (name == "title") return TitleWords(value.Str());
  if (name == "length" || name == "count") return value.Length();
  if (name == "join") return JoinFilter(value, reader);
  if (name == "tojson") return ToJson(value, reader);
  if (name == "default" || name == "d") return Default(value, reader);
  if (name == "first") return Edge(value, true);
  if (name == "last") return Edge(value, false);
  if (name == "list") return JinjaValue::List(value.Iterate());
  if (name == "string") return value.Str();
  if (name == "safe") return value;
  if (name == "escape" || name == "e") return Escape(value);
  if (name == "int") return ToInteger(value, reader);
  if (name == "float") return ToFloat(value, reader);
  if (name == "indent") return Indent(value, reader);
  if (name == "items") return Items(value);
  if (name == "dictsort") return DictSort(value, reader);
  if (name == "sort") return Sort(value, reader);
  if (name == "unique") return Unique(value, reader);
  if (name == "min" || name == "max") return Extreme(value, name == "max");
  if (name == "reverse") return Reverse(value);
  if (name == "abs") return Abs(value);
  if (name == "attr") return JinjaAttribute(value, reader.Need("name").Str());
  if (name == "replace") {
    const std::string from = reader.Text("old", ""), to = reader.Text("new", "");
    return PythonReplace(value.Str(), from, to, reader.Integer("count", -1));
  }
  return std::nullopt;
}

}  // namespace

std::optional<JinjaValue> ApplyJinjaFilter(const std::string& name, const JinjaValue& value,
                                           const JinjaArguments& arguments, const JinjaCalls& calls) {
  if (name == "map") return MapFilter(value, arguments, calls);
  if (name == "select" || name == "reject" || name == "selectattr" || name == "rejectattr") {
    return Select(name, value, arguments, calls);
  }
  Reader reader(name, arguments);
  auto result = Plain(name, value, reader);
  if (result) reader.End();
  return result;
}

}  // namespace elrea
