// Reads an object's fields one by one, checking type and range, and refuses those that nobody asked for.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/json.h"

namespace elrea {

// An integer, or a number without a fraction (JSON knows no difference) that an int64 holds; else nothing.
std::optional<int64_t> WholeNumber(const Json& value);

// Errors: ApiError of status 400, naming the field ("elrea.top_k must be an integer from 0 to 1000").
class JsonFields {
 public:
  // `prefix` is put before the names in errors. kept by reference: REQUIRES: `object` outlives this.
  JsonFields(const Json& object, std::string prefix = "");

  // Null counts as absent.
  const Json* Find(const char* name);
  std::optional<double> Number(const char* name, double min, double max);
  std::optional<int64_t> Integer(const char* name, int64_t min, int64_t max);
  std::optional<bool> Bool(const char* name);
  std::optional<std::string> String(const char* name);
  // A string, or a list of strings.
  std::optional<std::vector<std::string>> Strings(const char* name);
  // Known to clients, and without a meaning here.
  void Ignore(std::initializer_list<const char*> names);
  // Not supported: an error if it is there and not null, false, or an empty list or object.
  void Refuse(const char* name, const std::string& why);
  // After all others: an error for any field not mentioned.
  void RefuseOthers() const;

  [[noreturn]] void Fail(const std::string& name, const std::string& must) const;

 private:
  const Json& object_;
  std::string prefix_;
  std::set<std::string> known_;
};

}  // namespace elrea
