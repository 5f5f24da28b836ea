// UTF-8 checks and repairs, splitting, nearest names, and the formats of numbers and tables.
#include "core/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace elrea {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD
constexpr std::string_view kWhiteSpace = " \t\n\v\f\r";

struct Utf8Step {
  size_t num_bytes;  // of the character, or of the maximal invalid sequence
  bool valid;
  bool truncated;  // the text ended inside a character that was good so far
};

// Well-formed sequences as in the Unicode Standard, table 3-7: the second byte's range depends on the first.
Utf8Step DecodeStep(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) {
    return {1, true, false};
  }
  if (first < 0xC2 || first > 0xF4) {
    return {1, false, false};
  }
  const size_t length = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
  unsigned char low = 0x80, high = 0xBF;
  if (first == 0xE0) low = 0xA0;
  if (first == 0xED) high = 0x9F;
  if (first == 0xF0) low = 0x90;
  if (first == 0xF4) high = 0x8F;
  for (size_t i = 1; i < length; ++i) {
    if (i == text.size()) {
      return {i, false, true};
    }
    if (byte(i) < low || byte(i) > high) {
      return {i, false, false};
    }
    low = 0x80;
    high = 0xBF;
  }
  return {length, true, false};
}

int64_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<int64_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) {
    row[j] = static_cast<int64_t>(j);
  }
  for (size_t i = 0; i < a.size(); ++i) {
    int64_t diagonal = row[0];
    row[0] = static_cast<int64_t>(i) + 1;
    for (size_t j = 0; j < b.size(); ++j) {
      const int64_t substituted = diagonal + (a[i] != b[j] ? 1 : 0);
      diagonal = row[j + 1];
      row[j + 1] = std::min({substituted, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

std::string Lower(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : static_cast<char>(c);
  });
  return lower;
}

// Terminal columns, counting one per code point.
size_t DisplayWidth(std::string_view text) {
  return static_cast<size_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

bool LooksNumeric(std::string_view cell) {
  const bool has_digit = cell.find_first_of("0123456789") != std::string_view::npos;
  std::string rest;
  for (char c : cell) {
    if (std::string_view("0123456789+-.,%eE[]()/ ").find(c) == std::string_view::npos) rest += c;
  }
  const bool only_plus_minus = rest.empty() || rest == "\xC2\xB1";  // "12.3 ± 0.4"
  return cell == "-" || (has_digit && only_plus_minus);
}

std::string OneLine(std::string_view cell) {
  std::string text(cell);
  std::replace_if(
      text.begin(), text.end(), [](unsigned char c) { return c < 0x20; }, ' ');
  return text;
}

}  // namespace

bool IsValidUtf8(std::string_view text) {
  while (!text.empty()) {
    const Utf8Step step = DecodeStep(text);
    if (!step.valid) return false;
    text.remove_prefix(step.num_bytes);
  }
  return true;
}

std::string ReplaceInvalidUtf8(std::string_view text) {
  std::string repaired;
  repaired.reserve(text.size());
  while (!text.empty()) {
    const Utf8Step step = DecodeStep(text);
    repaired += step.valid ? text.substr(0, step.num_bytes) : kReplacement;
    text.remove_prefix(step.num_bytes);
  }
  return repaired;
}

size_t CompleteUtf8Prefix(std::string_view text) {
  const size_t farthest = std::min<size_t>(3, text.size());  // a character lacks at least its last byte
  for (size_t back = 1; back <= farthest; ++back) {
    const std::string_view tail = text.substr(text.size() - back);
    const bool continuation = (static_cast<unsigned char>(tail[0]) & 0xC0) == 0x80;
    if (!continuation) {
      return DecodeStep(tail).truncated ? text.size() - back : text.size();
    }
  }
  return text.size();
}

std::string Trim(std::string_view text) {
  const size_t begin = text.find_first_not_of(kWhiteSpace);
  if (begin == std::string_view::npos) {
    return "";
  }
  return std::string(text.substr(begin, text.find_last_not_of(kWhiteSpace) - begin + 1));
}

std::vector<std::string> Split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  for (;;) {
    const size_t end = text.find(separator);
    parts.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) {
      return parts;
    }
    text.remove_prefix(end + 1);
  }
}

std::string Join(const std::vector<std::string>& parts, std::string_view separator) {
  return fmt::format("{}", fmt::join(parts, separator));
}

std::optional<std::string> NearestName(std::string_view name, const std::vector<std::string>& candidates) {
  constexpr size_t kLongestName = 256;  // the distance is quadratic: a hostile name is not worth it
  if (name.empty() || name.size() > kLongestName) {
    return std::nullopt;
  }
  std::optional<std::string> nearest;
  int64_t smallest = 0;
  for (const std::string& candidate : candidates) {
    const int64_t distance = EditDistance(Lower(name), Lower(candidate));
    const auto longer = static_cast<int64_t>(std::max(name.size(), candidate.size()));
    const bool close = distance <= std::max<int64_t>(1, longer / 3) && distance < longer;
    if (close && (!nearest || distance < smallest)) {
      nearest = candidate;
      smallest = distance;
    }
  }
  return nearest;
}

std::string FormatBytes(uint64_t num_bytes) {
  static constexpr const char* kUnits[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  if (num_bytes < 1024) {
    return fmt::format("{} B", num_bytes);
  }
  double value = static_cast<double>(num_bytes) / 1024.0;
  size_t unit = 0;
  while (value >= 1023.95 && unit + 1 < std::size(kUnits)) {  // 1023.95 would print as 1024.0
    value /= 1024.0;
    ++unit;
  }
  return fmt::format("{:.1f} {}", value, kUnits[unit]);
}

std::string FormatDuration(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0.0 || seconds > 1e12) {
    return "?";
  }
  if (seconds < 0.9995) {
    return fmt::format("{:.0f} ms", seconds * 1e3);
  }
  if (seconds < 59.95) {
    return fmt::format("{:.1f} s", seconds);
  }
  const auto whole = static_cast<int64_t>(std::llround(seconds));
  if (whole < 3600) {
    return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  }
  const int64_t minutes = (whole + 30) / 60;
  return fmt::format("{} h {:02} min", minutes / 60, minutes % 60);
}

std::string FormatCount(int64_t count) {
  std::string digits = fmt::format("{}", count);
  const size_t first = digits[0] == '-' ? 1 : 0;
  for (size_t end = digits.size(); end > first + 3; end -= 3) {
    digits.insert(end - 3, 1, ',');
  }
  return digits;
}

std::string FormatTable(const std::vector<std::vector<std::string>>& rows) {
  size_t num_columns = 0;
  for (const auto& row : rows) {
    num_columns = std::max(num_columns, row.size());
  }
  std::vector<size_t> widths(num_columns, 0);
  std::vector<bool> numeric(num_columns, rows.size() > 1);
  for (size_t r = 0; r < rows.size(); ++r) {
    for (size_t c = 0; c < rows[r].size(); ++c) {
      widths[c] = std::max(widths[c], DisplayWidth(rows[r][c]));
      if (r > 0 && !rows[r][c].empty() && !LooksNumeric(rows[r][c])) numeric[c] = false;
    }
  }
  std::string table;
  const auto append = [&](const std::vector<std::string>& row, bool header) {
    std::string line;
    for (size_t c = 0; c < num_columns; ++c) {
      const std::string cell = c < row.size() ? OneLine(row[c]) : "";
      const std::string padding(widths[c] - DisplayWidth(cell), ' ');
      const bool right = header ? numeric[c] : LooksNumeric(cell);
      line += (c > 0 ? "  " : "") + (right ? padding + cell : cell + padding);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    table += line + "\n";
  };
  for (size_t r = 0; r < rows.size(); ++r) {
    append(rows[r], r == 0);
    if (r == 0) {
      std::vector<std::string> rule;
      for (size_t width : widths) rule.emplace_back(width, '-');
      append(rule, true);
    }
  }
  return table;
}

}  // namespace elrea
