// Parsing with bounded depth, atomic writing, and the error texts of field access.
#include "core/json.h"

#include <fmt/format.h>

#include "core/text.h"

namespace elrea {
namespace {

constexpr int kMaxDepth = 64;
constexpr size_t kExcerptBytes = 40;

// Depth of the deepest bracket outside strings. A scan before parsing: nlohmann's parser has no depth limit,
// and dumping or copying a deep value recurses. On broken text the answer may be wrong, but then parsing
// fails anyway.
int NestingDepth(std::string_view text) {
  int depth = 0, deepest = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') {
        ++i;
      } else if (c == '"') {
        in_string = false;
      }
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      deepest = std::max(deepest, ++depth);
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return deepest;
}

// "[json.exception.parse_error.101] parse error at line 1, ..." without the bracket.
std::string WithoutTag(const std::string& message) {
  const size_t end = message.find("] ");
  return message.starts_with('[') && end != std::string::npos ? message.substr(end + 2) : message;
}

template <typename AnyJson>
AnyJson Parse(std::string_view text, const std::string& origin) {
  if (NestingDepth(text) > kMaxDepth) {
    throw Error(ErrorKind::kCorrupt,
                fmt::format("{}: JSON nested deeper than {} levels is not accepted", origin, kMaxDepth));
  }
  try {
    return AnyJson::parse(text);
  } catch (const nlohmann::json::exception& failure) {
    throw Error(ErrorKind::kCorrupt, fmt::format("{}: not valid JSON: {}", origin,
                                                 ReplaceInvalidUtf8(WithoutTag(failure.what()))));
  }
}

template <typename AnyJson>
std::string Dump(const AnyJson& value, int indent) {
  return value.dump(indent, ' ', false, AnyJson::error_handler_t::replace);
}

template <typename AnyJson>
std::string Excerpt(const AnyJson& value) {
  // A large container is not dumped whole for its first characters.
  std::string text = value.is_structured() && value.size() > kExcerptBytes
                         ? fmt::format("of {} items", value.size())
                         : Dump(value, -1);
  if (text.size() > kExcerptBytes) {
    text.resize(kExcerptBytes);
    text.resize(CompleteUtf8Prefix(text));
    text += "...";
  }
  return value.is_null() ? "null" : fmt::format("{} {}", value.type_name(), text);
}

}  // namespace

Json ParseJson(std::string_view text, const std::string& origin) { return Parse<Json>(text, origin); }
Json ReadJsonFile(const fs::path& path) { return ParseJson(ReadFile(path), path.string()); }
SortedJson ParseSortedJson(std::string_view text, const std::string& origin) {
  return Parse<SortedJson>(text, origin);
}
SortedJson ReadSortedJsonFile(const fs::path& path) { return ParseSortedJson(ReadFile(path), path.string()); }

Json ReadVersionedJson(const fs::path& path, int64_t version) {
  Json value = ReadJsonFile(path);
  const auto found = JsonField<int64_t>(value, "format_version", path.string());
  if (found != version) {
    throw Error(ErrorKind::kInvalidInput,
                fmt::format("{}: format_version is {}, this program reads {}. Use the elrea that wrote it",
                            path.string(), found, version));
  }
  return value;
}

void WriteJsonFile(const fs::path& path, const Json& value) {
  WriteFileAtomically(path, Dump(value, 2) + "\n");
}

std::string JsonLine(const Json& value) { return Dump(value, -1); }

std::string JsonExcerpt(const Json& value) { return Excerpt(value); }
std::string JsonExcerpt(const SortedJson& value) { return Excerpt(value); }

namespace json_internal {

void ThrowMissing(const char* key, const std::string& origin) {
  throw Error(ErrorKind::kCorrupt, fmt::format("{}: the field \"{}\" is missing", origin, key));
}

void ThrowWrongType(const char* key, const std::string& expected, const std::string& actual,
                    const std::string& origin) {
  throw Error(ErrorKind::kCorrupt,
              fmt::format("{}: the field \"{}\" must be {}, not {}", origin, key, expected, actual));
}

void ThrowNotObject(const char* key, const std::string& origin) {
  throw Error(ErrorKind::kCorrupt,
              fmt::format("{}: not a JSON object, so it has no field \"{}\"", origin, key));
}

}  // namespace json_internal
}  // namespace elrea
