// JSON through nlohmann-json with errors that name the file and the field.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "core/files.h"

namespace elrea {

using Json = nlohmann::ordered_json;

// Parses `text`; `origin` (a path, "row 7 of x.jsonl") is named in the error (kCorrupt). Depth is bounded at 64.
Json ParseJson(std::string_view text, const std::string& origin);
Json ReadJsonFile(const fs::path& path);
void WriteJsonFile(const fs::path& path, const Json& value);  // indented, atomic, ends with "\n"

// value[key] as T; kCorrupt naming `origin` and the key when missing or of another type.
template <typename T>
T JsonField(const Json& value, const char* key, const std::string& origin);
template <typename T>
T JsonFieldOr(const Json& value, const char* key, T fallback, const std::string& origin);

// Dumps on one line, replacing invalid UTF-8 rather than throwing.
std::string JsonLine(const Json& value);

}  // namespace elrea

#include "core/json_inl.h"
