#include "core/json.h"

#include <gtest/gtest.h>

#include "core/expect_error.h"
#include "core/temp_dir.h"

namespace elrea {
namespace {

TEST(JsonTest, ParseFaultsNameTheOrigin) {
  ExpectError(ErrorKind::kCorrupt, {"row 7 of x.jsonl", "not valid JSON"},
              [] { ParseJson("{\"a\": }", "row 7 of x.jsonl"); });
  ExpectError(ErrorKind::kCorrupt, {"x"}, [] { ParseJson("", "x"); });
  ExpectError(ErrorKind::kCorrupt, {"x"}, [] { ParseJson("{} {}", "x"); });
  ExpectError(ErrorKind::kCorrupt, {"x"}, [] { ParseJson("\"\xFF\"", "x"); });
  ExpectError(ErrorKind::kCorrupt, {"x"}, [] { ParseJson("1e999", "x"); });
  ExpectError(ErrorKind::kCorrupt, {"x"}, [] { ParseJson("{\"a\": NaN}", "x"); });
}

TEST(JsonTest, ArtifactsOfAnotherVersionAreRefused) {
  const TempDir dir;
  WriteJsonFile(dir / "a.json", {{"format_version", 3}});
  EXPECT_EQ(ReadVersionedJson(dir / "a.json", 3)["format_version"], 3);
  ExpectError(ErrorKind::kInvalidInput, {"a.json", "format_version is 3", "reads 1"},
              [&] { ReadVersionedJson(dir / "a.json"); });
  WriteJsonFile(dir / "b.json", Json::object());
  ExpectError(ErrorKind::kCorrupt, {"b.json", "format_version"}, [&] { ReadVersionedJson(dir / "b.json"); });
}

TEST(JsonTest, DepthIsBounded) {
  const auto nested = [](size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  EXPECT_NO_THROW(ParseJson(nested(64), "x"));
  ExpectError(ErrorKind::kCorrupt, {"x", "64 levels"}, [&] { ParseJson(nested(65), "x"); });
  ExpectError(ErrorKind::kCorrupt, {"x", "64 levels"}, [&] { ParseJson(std::string(10'000'000, '['), "x"); });
  ExpectError(ErrorKind::kCorrupt, {"x", "64 levels"}, [&] {
    std::string text;
    for (int i = 0; i < 100'000; ++i) text += "{\"a\":";
    ParseSortedJson(text, "x");
  });
  // Brackets inside strings are no depth, whatever is escaped there.
  EXPECT_NO_THROW(ParseJson("\"\\\"" + std::string(100, '[') + "\\\\\"", "x"));
}

TEST(JsonTest, KeepsKeyOrderOrSorts) {
  EXPECT_EQ(JsonLine(ParseJson("{\"b\":1,\"a\":2}", "x")), "{\"b\":1,\"a\":2}");
  EXPECT_EQ(ParseSortedJson("{\"b\":1,\"a\":2}", "x").dump(), "{\"a\":2,\"b\":1}");
}

TEST(JsonTest, SortedJsonParsesALargeVocabularyQuickly) {
  std::string text = "{";
  for (int i = 0; i < 200'000; ++i)
    text += (i > 0 ? ",\"tok" : "\"tok") + std::to_string(i) + "\":" + std::to_string(i);
  const SortedJson vocabulary = ParseSortedJson(text + "}", "x");  // minutes, were it quadratic
  EXPECT_EQ(vocabulary.size(), 200'000u);
  EXPECT_EQ(JsonField<int64_t>(vocabulary, "tok199999", "x"), 199'999);
}

TEST(JsonTest, FileRoundTrip) {
  TempDir dir;
  Json value = {{"name", "x"}, {"list", {1, 2.5, nullptr}}, {"text", "é\n\"quoted\""}};
  WriteJsonFile(dir / "a.json", value);
  EXPECT_EQ(ReadJsonFile(dir / "a.json"), value);
  EXPECT_EQ(ReadFile(dir / "a.json").back(), '\n');
  WriteFileAtomically(dir / "bad.json", "{");
  ExpectError(ErrorKind::kCorrupt, {"bad.json"}, [&] { ReadJsonFile(dir / "bad.json"); });
  ExpectError(ErrorKind::kNotFound, {"none.json"}, [&] { ReadSortedJsonFile(dir / "none.json"); });
}

TEST(JsonTest, LineReplacesInvalidUtf8AndStaysOneLine) {
  EXPECT_EQ(JsonLine(Json{{"a", "x\xFFy\nz"}}), "{\"a\":\"x\xEF\xBF\xBDy\\nz\"}");
}

TEST(JsonFieldTest, ReadsEachType) {
  const Json value =
      ParseJson(R"({"b": true, "i": -3, "u": 18446744073709551615, "d": 2.5, "w": 4.0, "s": "x",
                                   "list": [1, 2], "names": ["a"], "nested": [[1], []], "o": {"k": 1}})",
                "x");
  EXPECT_TRUE(JsonField<bool>(value, "b", "x"));
  EXPECT_EQ(JsonField<int64_t>(value, "i", "x"), -3);
  EXPECT_EQ(JsonField<int>(value, "i", "x"), -3);
  EXPECT_EQ(JsonField<uint64_t>(value, "u", "x"), UINT64_MAX);
  EXPECT_EQ(JsonField<double>(value, "d", "x"), 2.5);
  EXPECT_EQ(JsonField<float>(value, "i", "x"), -3.0f);
  EXPECT_EQ(JsonField<int64_t>(value, "w", "x"), 4);
  EXPECT_EQ(JsonField<std::string>(value, "s", "x"), "x");
  EXPECT_EQ(JsonField<std::vector<int64_t>>(value, "list", "x"), (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(JsonField<std::vector<std::string>>(value, "names", "x"), std::vector<std::string>{"a"});
  EXPECT_EQ(JsonField<std::vector<std::vector<int64_t>>>(value, "nested", "x").size(), 2u);
  EXPECT_EQ(JsonField<int64_t>(JsonField<Json>(value, "o", "x"), "k", "x"), 1);
}

TEST(JsonFieldTest, WrongTypesNameOriginKeyAndValue) {
  const Json value =
      ParseJson(R"({"b": true, "i": 3, "f": 2.5, "huge": 1e300, "s": "text", "list": [1, "a"], "n": null,
                                   "big": 4294967296, "negative": -1})",
                "x");
  ExpectError(ErrorKind::kCorrupt, {"run.json", "\"s\"", "integer", "\"text\""},
              [&] { JsonField<int64_t>(value, "s", "run.json"); });
  ExpectError(ErrorKind::kCorrupt, {"\"b\"", "integer"}, [&] { JsonField<int64_t>(value, "b", "x"); });
  ExpectError(ErrorKind::kCorrupt, {"\"f\"", "integer", "2.5"}, [&] { JsonField<int64_t>(value, "f", "x"); });
  ExpectError(ErrorKind::kCorrupt, {"\"huge\""}, [&] { JsonField<int64_t>(value, "huge", "x"); });
  ExpectError(ErrorKind::kCorrupt, {"\"big\"", "32 bits"}, [&] { JsonField<int32_t>(value, "big", "x"); });
  ExpectError(ErrorKind::kCorrupt, {"\"negative\""}, [&] { JsonField<uint64_t>(value, "negative", "x"); });
  ExpectError(ErrorKind::kCorrupt, {"\"i\"", "true or false"}, [&] { JsonField<bool>(value, "i", "x"); });
  ExpectError(ErrorKind::kCorrupt, {"\"i\"", "string"}, [&] { JsonField<std::string>(value, "i", "x"); });
  ExpectError(ErrorKind::kCorrupt, {"\"b\"", "number"}, [&] { JsonField<double>(value, "b", "x"); });
  ExpectError(ErrorKind::kCorrupt, {"\"n\"", "null"}, [&] { JsonField<double>(value, "n", "x"); });
  ExpectError(ErrorKind::kCorrupt, {"\"list\"", "list", "integer"},
              [&] { JsonField<std::vector<int64_t>>(value, "list", "x"); });
  ExpectError(ErrorKind::kCorrupt, {"\"none\"", "missing"}, [&] { JsonField<int64_t>(value, "none", "x"); });
  ExpectError(ErrorKind::kCorrupt, {"not a JSON object"},
              [&] { JsonField<int64_t>(Json::array(), "k", "x"); });
}

TEST(JsonFieldTest, FallbackForMissingAndNullOnly) {
  const Json value = ParseJson(R"({"n": null, "s": "x", "i": 0})", "x");
  EXPECT_EQ(JsonFieldOr<int64_t>(value, "none", 7, "x"), 7);
  EXPECT_EQ(JsonFieldOr<int64_t>(value, "n", 7, "x"), 7);
  EXPECT_EQ(JsonFieldOr<int64_t>(value, "i", 7, "x"), 0);
  EXPECT_EQ(JsonFieldOr<std::string>(value, "none", "d", "x"), "d");
  ExpectError(ErrorKind::kCorrupt, {"\"s\""}, [&] { JsonFieldOr<int64_t>(value, "s", 7, "x"); });
}

TEST(JsonTest, ExcerptsAreShort) {
  EXPECT_EQ(JsonExcerpt(Json(nullptr)), "null");
  EXPECT_EQ(JsonExcerpt(Json("a")), "string \"a\"");
  EXPECT_LT(JsonExcerpt(Json(std::string(100000, 'x'))).size(), 60u);
  EXPECT_EQ(JsonExcerpt(Json(std::vector<int>(1000, 1))), "array of 1000 items");
}

}  // namespace
}  // namespace elrea
