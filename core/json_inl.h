// Typed access to JSON fields. nlohmann's get<T>() turns 2.7 into 2 and true into 1 without a word; here a
// number must be a number, an integer must be whole and fit, and the error names the field.
#pragma once

#include <cmath>
#include <concepts>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/error.h"

namespace elrea::json_internal {

template <typename T>
struct IsVector : std::false_type {};
template <typename T>
struct IsVector<std::vector<T>> : std::true_type {};

template <typename T>
std::string TypeName() {
  if constexpr (std::same_as<T, bool>) {
    return "true or false";
  } else if constexpr (std::integral<T>) {
    return "an integer of " + std::to_string(8 * sizeof(T)) + " bits";
  } else if constexpr (std::floating_point<T>) {
    return "a number";
  } else if constexpr (std::same_as<T, std::string>) {
    return "a string";
  } else if constexpr (IsVector<T>::value) {
    return "a list, each item " + TypeName<typename T::value_type>();
  } else {
    return "another type";
  }
}

// Integers as nlohmann stores them: unsigned when written without a sign, else signed; a float only when
// whole.
template <std::integral T, typename AnyJson>
bool ConvertInteger(const AnyJson& value, T* into) {
  if (value.is_number_unsigned()) {
    const auto number = value.template get<uint64_t>();
    *into = static_cast<T>(number);
    return std::in_range<T>(number);
  }
  if (value.is_number_integer()) {
    const auto number = value.template get<int64_t>();
    *into = static_cast<T>(number);
    return std::in_range<T>(number);
  }
  if (value.is_number_float()) {
    const double number = value.template get<double>();
    if (std::abs(number) > 0x1.0p53 || number != std::floor(number)) return false;
    const auto whole = static_cast<int64_t>(number);
    *into = static_cast<T>(whole);
    return std::in_range<T>(whole);
  }
  return false;
}

template <typename T, typename AnyJson>
bool Convert(const AnyJson& value, T* into) {
  if constexpr (std::same_as<T, bool>) {
    if (!value.is_boolean()) return false;
    *into = value.template get<bool>();
    return true;
  } else if constexpr (std::integral<T>) {
    return ConvertInteger(value, into);
  } else if constexpr (std::floating_point<T>) {
    if (!value.is_number()) return false;
    *into = value.template get<T>();
    return true;
  } else if constexpr (std::same_as<T, std::string>) {
    if (!value.is_string()) return false;
    *into = value.template get<std::string>();
    return true;
  } else if constexpr (IsVector<T>::value) {
    if (!value.is_array()) return false;
    into->clear();
    for (const auto& item : value) {
      typename T::value_type converted{};
      if (!Convert(item, &converted)) return false;
      into->push_back(std::move(converted));
    }
    return true;
  } else {  // Json itself and types with their own from_json
    try {
      *into = value.template get<T>();
      return true;
    } catch (const nlohmann::json::exception&) {
      return false;
    }
  }
}

[[noreturn]] void ThrowMissing(const char* key, const std::string& origin);
[[noreturn]] void ThrowWrongType(const char* key, const std::string& expected, const std::string& actual,
                                 const std::string& origin);
[[noreturn]] void ThrowNotObject(const char* key, const std::string& origin);

template <typename T, typename AnyJson>
T Get(const AnyJson& field, const char* key, const std::string& origin) {
  T converted{};
  if (!Convert(field, &converted)) {
    ThrowWrongType(key, TypeName<T>(), JsonExcerpt(field), origin);
  }
  return converted;
}

}  // namespace elrea::json_internal

namespace elrea {

template <typename T, typename AnyJson>
T JsonField(const AnyJson& value, const char* key, const std::string& origin) {
  if (!value.is_object()) {
    json_internal::ThrowNotObject(key, origin);
  }
  const auto found = value.find(key);
  if (found == value.end()) {
    json_internal::ThrowMissing(key, origin);
  }
  return json_internal::Get<T>(*found, key, origin);
}

template <typename T, typename AnyJson>
T JsonFieldOr(const AnyJson& value, const char* key, T fallback, const std::string& origin) {
  if (!value.is_object()) {
    json_internal::ThrowNotObject(key, origin);
  }
  const auto found = value.find(key);
  if (found == value.end() || found->is_null()) {
    return fallback;
  }
  return json_internal::Get<T>(*found, key, origin);
}

}  // namespace elrea
