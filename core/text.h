// Small text helpers shared by options, ledgers, logs and tables.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace elrea {

bool IsValidUtf8(std::string_view text);
// Every maximal invalid sequence becomes U+FFFD, as Python's errors="replace" does.
std::string ReplaceInvalidUtf8(std::string_view text);
// Length in bytes of the longest prefix that does not end inside a UTF-8 character.
size_t CompleteUtf8Prefix(std::string_view text);

std::string Trim(std::string_view text);  // ASCII white space at both ends
std::vector<std::string> Split(std::string_view text, char separator);
std::string Join(const std::vector<std::string>& parts, std::string_view separator);

// The candidate with the smallest edit distance to `name`, if it is close enough to be a slip of the fingers.
std::optional<std::string> NearestName(std::string_view name, const std::vector<std::string>& candidates);

std::string FormatBytes(uint64_t num_bytes);  // "1.4 GiB"
std::string FormatDuration(double seconds);   // "3.2 s", "4 min 05 s", "2 h 10 min"
std::string FormatCount(int64_t count);       // "12,345"

// A plain-text table: first row is the header; numeric-looking cells are right-aligned.
std::string FormatTable(const std::vector<std::vector<std::string>>& rows);

}  // namespace elrea
