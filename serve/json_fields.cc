#include "serve/json_fields.h"

#include <fmt/format.h>

#include <cmath>

#include "core/text.h"
#include "serve/api_error.h"

namespace elrea {

std::optional<int64_t> WholeNumber(const Json& value) {
  if (value.is_number_unsigned()) {
    const auto number = value.get<uint64_t>();
    return number <= static_cast<uint64_t>(INT64_MAX) ? std::optional(static_cast<int64_t>(number)) : std::nullopt;
  }
  if (value.is_number_integer()) return value.get<int64_t>();
  if (!value.is_number_float()) return std::nullopt;
  const double number = value.get<double>();
  constexpr double kMost = 0x1p53;  // up to here every whole number has a double of its own
  return std::abs(number) <= kMost && number == std::floor(number) ? std::optional(static_cast<int64_t>(number))
                                                                   : std::nullopt;
}

namespace {

bool MeansNothing(const Json& value) {
  return value.is_null() || (value.is_boolean() && !value.get<bool>()) || (value.is_structured() && value.empty());
}

}  // namespace

JsonFields::JsonFields(const Json& object, std::string prefix) : object_(object), prefix_(std::move(prefix)) {
  if (object.is_object()) return;
  const std::string name = prefix_.empty() ? "" : prefix_.substr(0, prefix_.size() - 1);
  throw ApiError(400, fmt::format("{} must be a JSON object, not {}", name.empty() ? "the body" : name, JsonExcerpt(object)),
                 name);
}

void JsonFields::Fail(const std::string& name, const std::string& must) const {
  const Json value = object_.contains(name) ? object_[name] : Json();
  throw ApiError(400, fmt::format("{}{} must be {}, not {}", prefix_, name, must, JsonExcerpt(value)), prefix_ + name);
}

const Json* JsonFields::Find(const char* name) {
  known_.insert(name);
  const auto found = object_.find(name);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

std::optional<double> JsonFields::Number(const char* name, double min, double max) {
  const Json* value = Find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number() || !(value->get<double>() >= min && value->get<double>() <= max)) {
    Fail(name, fmt::format("a number from {} to {}", min, max));
  }
  return value->get<double>();
}

std::optional<int64_t> JsonFields::Integer(const char* name, int64_t min, int64_t max) {
  const Json* value = Find(name);
  if (value == nullptr) return std::nullopt;
  const auto number = WholeNumber(*value);
  if (!number || *number < min || *number > max) Fail(name, fmt::format("an integer from {} to {}", min, max));
  return number;
}

std::optional<bool> JsonFields::Bool(const char* name) {
  const Json* value = Find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_boolean()) Fail(name, "true or false");
  return value->get<bool>();
}

std::optional<std::string> JsonFields::String(const char* name) {
  const Json* value = Find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string()) Fail(name, "a string");
  return value->get<std::string>();
}

std::optional<std::vector<std::string>> JsonFields::Strings(const char* name) {
  const Json* value = Find(name);
  if (value == nullptr) return std::nullopt;
  if (value->is_string()) return std::vector{value->get<std::string>()};
  if (!value->is_array()) Fail(name, "a string or a list of strings");
  std::vector<std::string> strings;
  for (const Json& item : *value) {
    if (!item.is_string()) Fail(name, "a string or a list of strings");
    strings.push_back(item.get<std::string>());
  }
  return strings;
}

void JsonFields::Ignore(std::initializer_list<const char*> names) {
  for (const char* name : names) known_.insert(name);
}

void JsonFields::Refuse(const char* name, const std::string& why) {
  const Json* value = Find(name);
  if (value == nullptr || MeansNothing(*value)) return;
  throw ApiError(400, fmt::format("{}{} is not supported: {}", prefix_, name, why), prefix_ + name,
                 "unsupported_parameter");
}

void JsonFields::RefuseOthers() const {
  for (const auto& [name, value] : object_.items()) {
    if (known_.contains(name)) continue;
    const auto nearest = NearestName(name, {known_.begin(), known_.end()});
    throw ApiError(400,
                   fmt::format("unknown field {}{}{}", prefix_, ReplaceInvalidUtf8(name.substr(0, 64)),
                               nearest ? "; did you mean " + *nearest + "?" : ""),
                   prefix_ + ReplaceInvalidUtf8(name.substr(0, 64)), "unknown_parameter");
  }
}

}  // namespace elrea
