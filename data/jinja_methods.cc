#include "data/jinja_methods.h"

#include <fmt/format.h>
#include <utf8proc.h>

#include <algorithm>
#include <optional>

#include "data/jinja_builtins.h"
#include "data/jinja_lexer.h"
#include "data/pretokenizer_chars.h"

namespace elrea {
namespace {

bool HasOwnUpperRules(char32_t code) {
  return code == 0xDF || code == 0x149 || code == 0x1F0 || code == 0x390 || code == 0x3B0 || code == 0x587 ||
         (code >= 0x1E96 && code <= 0x1E9A) || (code >= 0x1F50 && code <= 0x1FFF) ||
         (code >= 0xFB00 && code <= 0xFB17);
}

std::string MapCase(std::string_view text, bool upper) {
  std::string mapped;
  for (const std::string_view c : Utf8Characters(text)) {
    const char32_t code = CharAt(c, 0).code;
    if (upper ? HasOwnUpperRules(code) : code == 0x3A3 || code == 0x130) {
      throw JinjaFault{fmt::format("the case of \"{}\" cannot be changed here", c)};
    }
    utf8proc_uint8_t bytes[4];
    const auto from = static_cast<utf8proc_int32_t>(code);
    const auto num_bytes =
        utf8proc_encode_char(upper ? utf8proc_toupper(from) : utf8proc_tolower(from), bytes);
    mapped.append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(num_bytes));
  }
  return mapped;
}

// str.title(): every letter behind what is no letter. ASCII only.
std::string Title(std::string_view text) {
  std::string title;
  bool inside = false;
  for (const char c : text) {
    if (static_cast<unsigned char>(c) >= 0x80) throw JinjaFault{"title() knows only ASCII here"};
    const bool lower = c >= 'a' && c <= 'z', upper = c >= 'A' && c <= 'Z';
    title += lower && !inside ? static_cast<char>(c - 32) : upper && inside ? static_cast<char>(c + 32) : c;
    inside = lower || upper;
  }
  return title;
}

JinjaValue SplitAtSpace(std::string_view text, int64_t max_splits) {
  JinjaList parts;
  for (text = PythonStrip(text, true, false); !text.empty(); text = PythonStrip(text, true, false)) {
    if (max_splits >= 0 && static_cast<int64_t>(parts.size()) == max_splits) {
      parts.push_back(std::string(text));
      break;
    }
    size_t end = 0;
    while (end < text.size()) {
      const size_t num_bytes = CharAt(text, end).num_bytes;
      if (PythonStrip(text.substr(end, num_bytes)).empty()) break;
      end += num_bytes;
    }
    parts.push_back(std::string(text.substr(0, end)));
    text.remove_prefix(end);
  }
  return JinjaValue::List(std::move(parts));
}

JinjaValue SplitAt(std::string_view text, const std::string& separator, int64_t max_splits, bool from_right) {
  if (separator.empty()) throw JinjaFault{"split: the separator is empty"};
  JinjaList parts;
  while (max_splits < 0 || static_cast<int64_t>(parts.size()) < max_splits) {
    const size_t at = from_right ? text.rfind(separator) : text.find(separator);
    if (at == text.npos) break;
    const std::string_view before = text.substr(0, at), behind = text.substr(at + separator.size());
    parts.push_back(std::string(from_right ? behind : before));
    text = from_right ? before : behind;
  }
  parts.push_back(std::string(text));
  if (from_right) std::reverse(parts.begin(), parts.end());
  return JinjaValue::List(std::move(parts));
}

JinjaValue Split(const std::string& text, const JinjaArguments& arguments, bool from_right) {
  JinjaArgumentReader reader(from_right ? "rsplit" : "split", arguments);
  const JinjaValue* separator = reader.Next("sep");
  const int64_t max_splits = reader.Integer("maxsplit", -1);
  reader.End();
  if (separator == nullptr || separator->IsNone()) {
    if (from_right && max_splits >= 0) throw JinjaFault{"rsplit needs a separator here"};
    return SplitAtSpace(text, max_splits);
  }
  if (!separator->text()) throw JinjaFault{"split: the separator must be a string"};
  return SplitAt(text, *separator->text(), max_splits, from_right);
}

JinjaValue SplitLines(const std::string& text) {
  JinjaList lines;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find_first_of("\n\r", begin), text.size());
    lines.push_back(text.substr(begin, end - begin));
    begin = end + (text.substr(end, 2) == "\r\n" ? 2 : 1);
  }
  return JinjaValue::List(std::move(lines));
}

bool HasAffix(const std::string& text, const JinjaValue& affix, bool at_start) {
  if (affix.is_tuple()) {
    return std::any_of(affix.items()->begin(), affix.items()->end(),
                       [&](const JinjaValue& one) { return HasAffix(text, one, at_start); });
  }
  if (!affix.text())
    throw JinjaFault{fmt::format("startswith and endswith want a string, not {}", affix.TypeName())};
  return at_start ? text.starts_with(*affix.text()) : text.ends_with(*affix.text());
}

JinjaValue JoinAll(const std::string& separator, const JinjaValue& values) {
  std::string text;
  bool first = true;
  for (const JinjaValue& value : values.Iterate()) {
    if (!value.text())
      throw JinjaFault{fmt::format("join: a value of type {} is no string", value.TypeName())};
    if (!std::exchange(first, false)) text += separator;
    text += *value.text();
  }
  return text;
}

// -1, or the number of characters before the match.
JinjaValue FindIn(const std::string& text, const std::string& wanted, bool from_right) {
  const size_t at = from_right ? text.rfind(wanted) : text.find(wanted);
  return at == text.npos ? JinjaValue(int64_t{-1}) : JinjaValue(JinjaValue(text.substr(0, at)).Length());
}

JinjaValue CountIn(const std::string& text, const std::string& wanted) {
  if (wanted.empty()) return JinjaValue(text).Length() + 1;
  int64_t count = 0;
  for (size_t at = text.find(wanted); at != text.npos; at = text.find(wanted, at + wanted.size())) ++count;
  return count;
}

using TextMethod = JinjaValue (*)(const std::string&, JinjaArgumentReader&, const JinjaArguments&);

struct NamedTextMethod {
  const char* name;
  TextMethod call;
};

JinjaValue StripMethod(const std::string& text, JinjaArgumentReader& reader, bool left, bool right) {
  return PythonStripped(text, reader.Next("chars"), left, right);
}

constexpr NamedTextMethod kTextMethods[] = {
    {"strip", [](const std::string& t, JinjaArgumentReader& r,
                 const JinjaArguments&) { return StripMethod(t, r, true, true); }},
    {"lstrip", [](const std::string& t, JinjaArgumentReader& r,
                  const JinjaArguments&) { return StripMethod(t, r, true, false); }},
    {"rstrip", [](const std::string& t, JinjaArgumentReader& r,
                  const JinjaArguments&) { return StripMethod(t, r, false, true); }},
    {"upper", [](const std::string& t, JinjaArgumentReader&,
                 const JinjaArguments&) { return JinjaValue(PythonUpper(t)); }},
    {"lower", [](const std::string& t, JinjaArgumentReader&,
                 const JinjaArguments&) { return JinjaValue(PythonLower(t)); }},
    {"title",
     [](const std::string& t, JinjaArgumentReader&, const JinjaArguments&) { return JinjaValue(Title(t)); }},
    {"capitalize", [](const std::string& t, JinjaArgumentReader&,
                      const JinjaArguments&) { return JinjaValue(PythonCapitalize(t)); }},
    {"splitlines",
     [](const std::string& t, JinjaArgumentReader&, const JinjaArguments&) { return SplitLines(t); }},
    {"startswith", [](const std::string& t, JinjaArgumentReader& r,
                      const JinjaArguments&) { return JinjaValue(HasAffix(t, r.Need("prefix"), true)); }},
    {"endswith", [](const std::string& t, JinjaArgumentReader& r,
                    const JinjaArguments&) { return JinjaValue(HasAffix(t, r.Need("suffix"), false)); }},
    {"join", [](const std::string& t, JinjaArgumentReader& r,
                const JinjaArguments&) { return JoinAll(t, r.Need("iterable")); }},
    {"find", [](const std::string& t, JinjaArgumentReader& r,
                const JinjaArguments&) { return FindIn(t, r.Text("sub", ""), false); }},
    {"rfind", [](const std::string& t, JinjaArgumentReader& r,
                 const JinjaArguments&) { return FindIn(t, r.Text("sub", ""), true); }},
    {"count", [](const std::string& t, JinjaArgumentReader& r,
                 const JinjaArguments&) { return CountIn(t, r.Text("sub", "")); }},
    {"replace",
     [](const std::string& t, JinjaArgumentReader& r, const JinjaArguments&) {
       const std::string from = r.Text("old", ""), to = r.Text("new", "");
       return JinjaValue(PythonReplace(t, from, to, r.Integer("count", -1)));
     }},
    {"removeprefix",
     [](const std::string& t, JinjaArgumentReader& r, const JinjaArguments&) {
       const std::string prefix = r.Text("prefix", "");
       return JinjaValue(t.starts_with(prefix) ? t.substr(prefix.size()) : t);
     }},
    {"removesuffix",
     [](const std::string& t, JinjaArgumentReader& r, const JinjaArguments&) {
       const std::string suffix = r.Text("suffix", "");
       return JinjaValue(t.ends_with(suffix) ? t.substr(0, t.size() - suffix.size()) : t);
     }},
    {"isdigit",
     [](const std::string& t, JinjaArgumentReader&, const JinjaArguments&) {
       return JinjaValue(!t.empty() &&
                         std::all_of(t.begin(), t.end(), [](char c) { return c >= '0' && c <= '9'; }));
     }},
};

std::optional<JinjaValue> TextMethodNamed(const std::string& text, const std::string& name) {
  if (name == "split" || name == "rsplit") {
    return JinjaValue::Function(name, [text, right = name == "rsplit"](const JinjaArguments& arguments) {
      return Split(text, arguments, right);
    });
  }
  for (const NamedTextMethod& method : kTextMethods) {
    if (name != method.name) continue;
    return JinjaValue::Function(name, [text, &method](const JinjaArguments& arguments) {
      JinjaArgumentReader reader(method.name, arguments);
      JinjaValue result = method.call(text, reader, arguments);
      reader.End();
      return result;
    });
  }
  return std::nullopt;
}

JinjaList Part(const JinjaDict& dict, const std::string& name) {
  JinjaList items;
  for (const auto& [key, value] : dict) {
    items.push_back(name == "keys" ? key : name == "values" ? value : JinjaValue::Tuple({key, value}));
  }
  return items;
}

std::optional<JinjaValue> DictMethodNamed(const JinjaValue& dict, const std::string& name) {
  if (name == "keys" || name == "values" || name == "items") {
    return JinjaValue::Function(name, [dict, name](const JinjaArguments& arguments) {
      JinjaArgumentReader(name, arguments).End();
      return JinjaValue::List(Part(*dict.dict(), name));
    });
  }
  if (name == "get") {
    return JinjaValue::Function(name, [dict](const JinjaArguments& arguments) {
      JinjaArgumentReader reader("get", arguments);
      const JinjaValue& key = reader.Need("key");
      const JinjaValue* fallback = reader.Next("default");
      reader.End();
      if (const JinjaValue* found = dict.Find(key)) return *found;
      return fallback ? *fallback : JinjaValue(JinjaNone{});
    });
  }
  for (const char* changing : {"pop", "popitem", "update", "setdefault", "clear", "copy"}) {
    if (name == changing && !dict.Find(name))
      throw JinjaFault{fmt::format("the method \"{}\" is not for templates", name)};
  }
  return std::nullopt;
}

}  // namespace

std::optional<JinjaValue> JinjaMethod(const JinjaValue& value, const std::string& name) {
  if (value.text()) return TextMethodNamed(*value.text(), name);
  if (value.dict()) return DictMethodNamed(value, name);
  return std::nullopt;
}

std::string PythonUpper(std::string_view text) { return MapCase(text, true); }
std::string PythonLower(std::string_view text) { return MapCase(text, false); }

std::string PythonCapitalize(std::string_view text) {
  if (text.empty()) return "";
  const size_t first = CharAt(text, 0).num_bytes;
  return PythonUpper(text.substr(0, first)) + PythonLower(text.substr(first));
}

std::string PythonStripped(std::string_view text, const JinjaValue* chars, bool left, bool right) {
  if (chars == nullptr || chars->IsNone()) return std::string(PythonStrip(text, left, right));
  if (!chars->text()) throw JinjaFault{"strip: the characters must be a string"};
  std::vector<std::string_view> kept = Utf8Characters(text);
  const std::vector<std::string_view> gone = Utf8Characters(*chars->text());
  const auto goes = [&](std::string_view c) { return std::find(gone.begin(), gone.end(), c) != gone.end(); };
  while (left && !kept.empty() && goes(kept.front())) {
    text.remove_prefix(kept.front().size());
    kept.erase(kept.begin());
  }
  while (right && !kept.empty() && goes(kept.back())) {
    text.remove_suffix(kept.back().size());
    kept.pop_back();
  }
  return std::string(text);
}

std::string PythonReplace(std::string_view text, std::string_view from, std::string_view to, int64_t count) {
  if (from.empty()) throw JinjaFault{"replace: the text to replace is empty"};
  std::string replaced;
  for (; count != 0; --count) {
    const size_t at = text.find(from);
    if (at == text.npos) break;
    replaced += text.substr(0, at);
    replaced += to;
    text.remove_prefix(at + from.size());
  }
  return replaced += text;
}

}  // namespace elrea
