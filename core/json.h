// JSON through nlohmann-json with errors that name the file and the field.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "core/files.h"

namespace elrea {

// Keeps the order of keys, so files read as they were written; finding a key is linear in their number.
using Json = nlohmann::ordered_json;
// For objects of thousands of keys (vocabularies, tensor tables): logarithmic, keys sorted.
using SortedJson = nlohmann::json;

// Parses `text`; `origin` (a path, "row 7 of x.jsonl") is named in the error (kCorrupt). Depth is bounded
// at 64.
Json ParseJson(std::string_view text, const std::string& origin);
Json ReadJsonFile(const fs::path& path);
SortedJson ParseSortedJson(std::string_view text, const std::string& origin);
SortedJson ReadSortedJsonFile(const fs::path& path);
// An artifact of ours: kInvalidInput unless its "format_version" is `version`.
Json ReadVersionedJson(const fs::path& path, int64_t version = 1);
void WriteJsonFile(const fs::path& path, const Json& value);  // indented, atomic, ends with "\n"

// value[key] as T (bool, integers, floats, strings, vectors of these, Json); kCorrupt naming `origin` and the
// key when missing or of another type. 3.0 is an integer, 3.5 is not, and an integer out of T's range is an
// error.
template <typename T, typename AnyJson>
T JsonField(const AnyJson& value, const char* key, const std::string& origin);
// As above, but `fallback` where the key is missing or null.
template <typename T, typename AnyJson>
T JsonFieldOr(const AnyJson& value, const char* key, T fallback, const std::string& origin);

// Dumps on one line, replacing invalid UTF-8 rather than throwing.
std::string JsonLine(const Json& value);

// The value's type and the beginning of its text, for error messages: `string "abc..."`.
std::string JsonExcerpt(const Json& value);
std::string JsonExcerpt(const SortedJson& value);

}  // namespace elrea

#include "core/json_inl.h"
