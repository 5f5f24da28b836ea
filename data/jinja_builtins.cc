// Attributes, items, tests and functions; the filters and the methods of strings are in files of their own.
#include "data/jinja_builtins.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <ctime>

#include "data/jinja_methods.h"

namespace elrea {
namespace {

constexpr int64_t kMaxRange = 100'000;  // that of Jinja's sandbox

JinjaValue Range(const JinjaArguments& arguments) {
  std::vector<int64_t> bounds;
  for (const JinjaValue& value : arguments.positional) {
    if (!value.IsInteger()) throw JinjaFault{"range takes integers"};
    bounds.push_back(value.AsInteger());
  }
  if (bounds.empty() || bounds.size() > 3 || !arguments.named.empty())
    throw JinjaFault{"range takes 1 to 3 integers"};
  const int64_t begin = bounds.size() > 1 ? bounds[0] : 0, end = bounds.size() > 1 ? bounds[1] : bounds[0];
  const int64_t step = bounds.size() > 2 ? bounds[2] : 1;
  if (step == 0) throw JinjaFault{"the step of range cannot be 0"};
  JinjaList items;
  for (int64_t i = begin; step > 0 ? i < end : i > end;) {
    if (static_cast<int64_t>(items.size()) >= kMaxRange) throw JinjaFault{"range is too long"};
    items.push_back(i);
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  return JinjaValue::List(std::move(items));
}

JinjaValue MakeNamespace(const JinjaArguments& arguments) {
  auto object = std::make_shared<JinjaObject>();
  object->type = "namespace";
  object->writable = true;
  for (const JinjaValue& value : arguments.positional) {
    if (!value.dict()) throw JinjaFault{"namespace takes named values or a dictionary"};
    for (const auto& [key, item] : *value.dict()) object->Set(key.Str(), item);
  }
  for (const auto& [name, value] : arguments.named) object->Set(name, value);
  return object;
}

JinjaValue MakeDict(const JinjaArguments& arguments) {
  JinjaDict entries;
  for (const JinjaValue& value : arguments.positional) {
    if (!value.dict()) throw JinjaFault{"dict takes named values or a dictionary"};
    entries.insert(entries.end(), value.dict()->begin(), value.dict()->end());
  }
  for (const auto& [name, value] : arguments.named) entries.emplace_back(name, value);
  return JinjaValue::Dict(std::move(entries));
}

JinjaValue RaiseException(const JinjaArguments& arguments) {
  const std::string message = arguments.positional.empty() ? "" : arguments.positional[0].Str();
  throw JinjaFault{"the template refuses this conversation: " + message};
}

JinjaValue StrftimeNow(const JinjaArguments& arguments, std::optional<int64_t> now_s) {
  JinjaArgumentReader reader("strftime_now", arguments);
  const std::string format = reader.Need("format").Str();
  reader.End();
  if (format.empty()) return "";
  const std::time_t now = now_s ? static_cast<std::time_t>(*now_s) : std::time(nullptr);
  std::tm local{};
  if (::localtime_r(&now, &local) == nullptr) throw JinjaFault{"strftime_now: no such time"};
  std::array<char, 4096> text{};
  const size_t num_bytes = std::strftime(text.data(), text.size(), format.c_str(), &local);
  if (num_bytes == 0) throw JinjaFault{"strftime_now: the format is too long"};
  return std::string(text.data(), num_bytes);
}

bool IsSequence(const JinjaValue& value) {
  return value.text() || value.items() || value.dict() || value.IsUndefined();
}

std::optional<bool> PlainTest(const std::string& name, const JinjaValue& value) {
  if (name == "defined") return !value.IsUndefined();
  if (name == "undefined") return value.IsUndefined();
  if (name == "none") return value.IsNone();
  if (name == "string") return value.text() != nullptr;
  if (name == "number") return value.IsNumber();
  if (name == "integer") return value.As<int64_t>() != nullptr;
  if (name == "float") return value.As<double>() != nullptr;
  if (name == "boolean") return value.As<bool>() != nullptr;
  if (name == "true") return value.As<bool>() && *value.As<bool>();
  if (name == "false") return value.As<bool>() && !*value.As<bool>();
  if (name == "mapping") return value.dict() != nullptr;
  if (name == "sequence" || name == "iterable") return IsSequence(value);
  if (name == "callable") return value.As<std::shared_ptr<const JinjaCallable>>() != nullptr;
  if (name != "odd" && name != "even") return std::nullopt;
  if (!value.IsInteger()) throw JinjaFault{fmt::format("the test \"{}\" wants an integer", name)};
  return (value.AsInteger() % 2 != 0) == (name == "odd");
}

std::optional<bool> CompareTest(const std::string& name, const JinjaValue& value, const JinjaValue& other) {
  if (name == "eq" || name == "equalto") return value.Equals(other);
  if (name == "ne") return !value.Equals(other);
  if (name == "lt" || name == "lessthan") return value.Less(other);
  if (name == "gt" || name == "greaterthan") return other.Less(value);
  if (name == "le") return value.Equals(other) || value.Less(other);
  if (name == "ge") return value.Equals(other) || other.Less(value);
  if (name == "in") return other.Contains(value);
  if (name == "sameas") return value.TypeName() == other.TypeName() && value.Equals(other);
  if (name != "divisibleby") return std::nullopt;
  if (!value.IsInteger() || !other.IsInteger() || other.AsInteger() == 0) {
    throw JinjaFault{"the test \"divisibleby\" wants integers, and not 0"};
  }
  return other.AsInteger() == -1 || value.AsInteger() % other.AsInteger() == 0;
}

JinjaValue Undefined(const JinjaValue& value, const std::string& name) {
  return JinjaValue::Undefined(fmt::format("{} of a value of type {}", name, value.TypeName()));
}

void RejectUndefined(const JinjaValue& value, const std::string& key) {
  if (const auto* undefined = value.As<JinjaUndefined>()) {
    throw JinjaFault{fmt::format("\"{}\" is undefined, so it has no \"{}\"", undefined->name, key)};
  }
}

}  // namespace

const JinjaValue* JinjaArgumentReader::Next(const std::string& name) {
  if (next_ < arguments_.positional.size()) return &arguments_.positional[next_++];
  for (const auto& [given, value] : arguments_.named) {
    if (given != name) continue;
    ++named_used_;
    return &value;
  }
  return nullptr;
}

const JinjaValue& JinjaArgumentReader::Need(const std::string& name) {
  const JinjaValue* value = Next(name);
  if (value == nullptr) throw JinjaFault{fmt::format("{} needs the argument \"{}\"", function_, name)};
  return *value;
}

int64_t JinjaArgumentReader::Integer(const std::string& name, int64_t fallback) {
  const JinjaValue* value = Next(name);
  if (value == nullptr || value->IsNone()) return fallback;
  if (!value->IsInteger()) throw JinjaFault{fmt::format("{}: \"{}\" must be an integer", function_, name)};
  return value->AsInteger();
}

bool JinjaArgumentReader::Flag(const std::string& name, bool fallback) {
  const JinjaValue* value = Next(name);
  return value ? value->Truth() : fallback;
}

std::string JinjaArgumentReader::Text(const std::string& name, const std::string& fallback) {
  const JinjaValue* value = Next(name);
  if (value == nullptr || value->IsNone()) return fallback;
  if (!value->text()) throw JinjaFault{fmt::format("{}: \"{}\" must be a string", function_, name)};
  return *value->text();
}

void JinjaArgumentReader::End() const {
  if (next_ < arguments_.positional.size() || named_used_ < arguments_.named.size()) {
    throw JinjaFault{fmt::format("{} was given arguments that it does not take here", function_)};
  }
}

std::optional<bool> ApplyJinjaTest(const std::string& name, const JinjaValue& value,
                                   const JinjaArguments& arguments) {
  if (arguments.positional.empty()) return PlainTest(name, value);
  if (const auto result = CompareTest(name, value, arguments.positional[0])) return result;
  if (PlainTest(name, value)) throw JinjaFault{fmt::format("the test \"{}\" takes no argument", name)};
  return std::nullopt;
}

JinjaValue JinjaAttribute(const JinjaValue& value, const std::string& name) {
  RejectUndefined(value, name);
  if (name.starts_with("__"))
    throw JinjaFault{fmt::format("the attribute \"{}\" is not for templates", name)};
  if (const auto* object = value.As<std::shared_ptr<JinjaObject>>()) {
    const auto found = (*object)->attributes.find(name);
    return found == (*object)->attributes.end() ? Undefined(value, name) : found->second;
  }
  if (auto method = JinjaMethod(value, name)) return *std::move(method);
  const JinjaValue* found = value.Find(name);
  return found ? *found : Undefined(value, name);
}

JinjaValue JinjaItem(const JinjaValue& value, const JinjaValue& key) {
  RejectUndefined(value, key.Str());
  if (const JinjaValue* found = value.Find(key)) return *found;
  if (key.IsInteger() && (value.items() || value.text())) {
    const int64_t length = value.Length(), index = key.AsInteger();
    if (index >= length || index < -length) return Undefined(value, key.Str());
    const auto place = static_cast<size_t>(index < 0 ? index + length : index);
    return value.items() ? (*value.items())[place]
                         : JinjaValue(std::string(Utf8Characters(*value.text())[place]));
  }
  return key.text() ? JinjaAttribute(value, *key.text()) : Undefined(value, key.Repr());
}

std::vector<std::pair<std::string, JinjaValue>> JinjaFunctions(std::optional<int64_t> now_s) {
  std::vector<std::pair<std::string, JinjaValue>> functions;
  const auto add = [&](const char* name, std::function<JinjaValue(const JinjaArguments&)> call) {
    functions.emplace_back(name, JinjaValue::Function(name, std::move(call)));
  };
  add("range", Range);
  add("dict", MakeDict);
  add("namespace", MakeNamespace);
  add("raise_exception", RaiseException);
  add("strftime_now", [now_s](const JinjaArguments& arguments) { return StrftimeNow(arguments, now_s); });
  return functions;
}

}  // namespace elrea
