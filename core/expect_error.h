// For tests: the kind of an elrea::Error and what its text must name.
#pragma once

#include <gtest/gtest.h>

#include <initializer_list>
#include <string>
#include <string_view>

#include "core/error.h"

namespace elrea {

// Runs `body` and expects an Error of `kind` whose text contains every one of `parts`; returns the text.
template <typename Body>
std::string ExpectError(ErrorKind kind, std::initializer_list<std::string_view> parts, Body&& body) {
  try {
    body();
  } catch (const Error& error) {
    const std::string text = error.what();
    EXPECT_EQ(static_cast<int>(error.kind()), static_cast<int>(kind)) << text;
    for (std::string_view part : parts) {
      EXPECT_NE(text.find(part), std::string::npos) << "\"" << part << "\" is not in: " << text;
    }
    return text;
  } catch (const std::exception& other) {
    ADD_FAILURE() << "not an elrea::Error: " << other.what();
    return "";
  }
  ADD_FAILURE() << "nothing thrown";
  return "";
}

}  // namespace elrea
