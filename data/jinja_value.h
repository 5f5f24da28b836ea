// Values of a Jinja template, with Python's rules for truth, equality, order, and how they print.
// Lists and dictionaries are shared and never changed, as in the sandbox that chat templates are written for.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "core/json.h"

namespace elrea {

class JinjaValue;

// A fault of evaluation without its place, which the evaluator adds.
struct JinjaFault {
  std::string what;
};

struct JinjaUndefined {
  std::string name;  // for messages
};
struct JinjaNone {};
using JinjaList = std::vector<JinjaValue>;
using JinjaDict = std::vector<std::pair<JinjaValue, JinjaValue>>;  // in order
// How deep values are nested in each other is bounded, so that printing and freeing them is.
struct JinjaSequence {
  JinjaList items;
  bool is_tuple;
  int depth;
};
struct JinjaMapping {
  JinjaDict entries;
  int depth;
};
// loop and namespace(): attributes by name.
struct JinjaObject {
  std::string type;
  std::map<std::string, JinjaValue> attributes;
  bool writable = false;
  int depth = 1;
  void Set(const std::string& name, JinjaValue value);  // JinjaFault when that is nested too deeply
};
struct JinjaArguments {
  JinjaList positional;
  std::vector<std::pair<std::string, JinjaValue>> named;
};
struct JinjaCallable {
  std::string name;
  std::function<JinjaValue(const JinjaArguments&)> call;
};

class JinjaValue {
 public:
  using Any = std::variant<JinjaUndefined, JinjaNone, bool, int64_t, double, std::string,
                           std::shared_ptr<const JinjaSequence>, std::shared_ptr<const JinjaMapping>,
                           std::shared_ptr<JinjaObject>, std::shared_ptr<const JinjaCallable>>;

  JinjaValue() : any_(JinjaUndefined{}) {}
  template <typename T>
  requires std::is_constructible_v<Any, T> JinjaValue(T value)
      : any_(std::move(value)) {}  // NOLINT: any kind of value is a value
  JinjaValue(const char* text) : any_(std::string(text)) {}
  static JinjaValue Undefined(std::string name) { return JinjaUndefined{std::move(name)}; }
  static JinjaValue List(JinjaList items);  // JinjaFault, as for the next two, when nested too deeply
  static JinjaValue Tuple(JinjaList items);
  static JinjaValue Dict(JinjaDict items);
  static JinjaValue Function(std::string name, std::function<JinjaValue(const JinjaArguments&)> call) {
    return std::make_shared<const JinjaCallable>(JinjaCallable{std::move(name), std::move(call)});
  }
  static JinjaValue FromJson(const Json& json);

  template <typename T>
  const T* As() const {
    return std::get_if<T>(&any_);
  }
  bool IsUndefined() const { return As<JinjaUndefined>() != nullptr; }
  bool IsNone() const { return As<JinjaNone>() != nullptr; }
  bool IsNumber() const { return As<bool>() || As<int64_t>() || As<double>(); }
  bool IsInteger() const { return As<bool>() || As<int64_t>(); }
  // nullptr when it is no string (list or tuple, dictionary).
  const std::string* text() const { return As<std::string>(); }
  const JinjaList* items() const;
  const JinjaDict* dict() const;
  bool is_tuple() const;
  int depth() const;  // 0 for what holds nothing else

  int64_t AsInteger() const;     // REQUIRES: IsInteger()
  double AsDouble() const;       // REQUIRES: IsNumber()
  std::string TypeName() const;  // Python's
  bool Truth() const;
  std::string Str() const;   // Python's str(); Undefined gives ""
  std::string Repr() const;  // Python's repr()

  bool Equals(const JinjaValue& other) const;
  // Python's order of numbers, strings and lists; JinjaFault for kinds that have none between them.
  bool Less(const JinjaValue& other) const;
  // What `for` goes over: items, keys, characters; JinjaFault for what cannot be gone over.
  JinjaList Iterate() const;
  // len(); JinjaFault.
  int64_t Length() const;
  bool Contains(const JinjaValue& item) const;  // `item in this`
  // The entry of a dictionary; nullptr when there is none.
  const JinjaValue* Find(const JinjaValue& key) const;

 private:
  Any any_;
};

// json.dumps as chat templates get it: ", " and ": ", no escapes beyond JSON's own; with indent >= 0 on lines
// of their own. JinjaFault for values that JSON has not.
std::string JinjaToJson(const JinjaValue& value, int64_t indent, bool sort_keys, bool ascii,
                        const std::string& item_separator, const std::string& key_separator);

// Python's repr of a float.
std::string PythonFloat(double value);

// The characters of valid UTF-8 text.
std::vector<std::string_view> Utf8Characters(std::string_view text);

}  // namespace elrea
