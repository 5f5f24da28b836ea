// Filters, tests, functions and methods of values. All throw JinjaFault for arguments they do not take.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "data/jinja_value.h"

namespace elrea {

// Named arguments taken by position or name, in the way of Python's functions.
class JinjaArgumentReader {
 public:
  JinjaArgumentReader(std::string function, const JinjaArguments& arguments)
      : function_(std::move(function)), arguments_(arguments) {}
  // The next parameter; nullptr when it was not given.
  const JinjaValue* Next(const std::string& name);
  const JinjaValue& Need(const std::string& name);
  int64_t Integer(const std::string& name, int64_t fallback);
  bool Flag(const std::string& name, bool fallback);
  std::string Text(const std::string& name, const std::string& fallback);
  void End() const;  // JinjaFault for arguments that nobody asked for

 private:
  std::string function_;
  const JinjaArguments& arguments_;
  size_t next_ = 0, named_used_ = 0;
};

// Applies filters and tests by name, for those filters that take another's name.
struct JinjaCalls {
  std::function<JinjaValue(const std::string& name, const JinjaValue& value, const JinjaArguments&)> filter;
  std::function<bool(const std::string& name, const JinjaValue& value, const JinjaArguments&)> test;
};

// Nothing for an unknown name.
std::optional<JinjaValue> ApplyJinjaFilter(const std::string& name, const JinjaValue& value,
                                           const JinjaArguments& arguments, const JinjaCalls& calls);
std::optional<bool> ApplyJinjaTest(const std::string& name, const JinjaValue& value,
                                   const JinjaArguments& arguments);
// A bound method of a string or dictionary; nothing when it has none of this name.
std::optional<JinjaValue> JinjaMethod(const JinjaValue& value, const std::string& name);
// value.name, and value["name"] where there is no such attribute: Undefined when there is neither.
JinjaValue JinjaAttribute(const JinjaValue& value, const std::string& name);
JinjaValue JinjaItem(const JinjaValue& value, const JinjaValue& key);
// range, dict, namespace, raise_exception, strftime_now.
std::vector<std::pair<std::string, JinjaValue>> JinjaFunctions(std::optional<int64_t> now_s);

}  // namespace elrea
