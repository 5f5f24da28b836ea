// Exact values and units of answers that PlainAnswer has rewritten: "-22 1/2 days" is -45/2 and "day".
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace elrea {

// numerator / denominator, denominator > 0, not reduced.
struct ExactNumber {
  int64_t numerator = 0;
  int64_t denominator = 1;
};
bool operator==(const ExactNumber& a, const ExactNumber& b);

// "12", "-0.50", ".5", "+3", "7/2", "1.5/2", "5 1/2". Nothing for other text and beyond 15 digits.
std::optional<ExactNumber> ParseExactNumber(std::string_view text);

// An answer parted into what is measured and its unit. The unit is in one spelling ("hrs" -> "hour"), ""
// without one.
struct Quantity {
  std::string value;
  std::string unit;
};
// A leading "$", "rs" and the like is dropped. After a number up to four words are a unit, unless one of them
// changes the value ("3 million") or the sense ("2 or more"); after other expressions only words known as
// units are.
Quantity SplitUnit(std::string_view plain);

}  // namespace elrea
