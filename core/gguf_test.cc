#include "core/gguf.h"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>

#include "core/damage.h"
#include "core/expect_error.h"
#include "core/rng.h"
#include "core/temp_dir.h"

namespace elrea {
namespace {

// Not through AtomicFile, and not over an old file: both wait for the disk, thousands of times here.
void WriteRaw(const fs::path& path, const std::string& bytes) {
  fs::remove(path);
  std::ofstream(path, std::ios::binary) << bytes;
}

// Builds GGUF bytes piece by piece, right or wrong as the test wants.
class Builder {
 public:
  template <typename T>
  Builder& Put(T value) {
    text_.append(reinterpret_cast<const char*>(&value), sizeof(value));
    return *this;
  }
  Builder& PutString(std::string_view text) { return Put<uint64_t>(text.size()).PutRaw(text); }
  Builder& PutRaw(std::string_view text) {
    text_ += text;
    return *this;
  }
  Builder& Head(uint64_t num_tensors, uint64_t num_pairs, uint32_t version = 3) {
    return PutRaw("GGUF").Put(version).Put(num_tensors).Put(num_pairs);
  }
  template <typename T>
  Builder& Pair(std::string_view key, uint32_t type, T value) {
    return PutString(key).Put(type).Put(value);
  }
  Builder& Array(std::string_view key, uint32_t item_type, uint64_t count) {
    return PutString(key).Put<uint32_t>(9).Put(item_type).Put(count);
  }
  Builder& Tensor(std::string_view name, std::vector<uint64_t> reversed_shape, uint32_t type,
                  uint64_t offset) {
    PutString(name).Put(static_cast<uint32_t>(reversed_shape.size()));
    for (uint64_t dim : reversed_shape) Put(dim);
    return Put(type).Put(offset);
  }
  Builder& Align(size_t alignment = 32) {
    text_.resize((text_.size() + alignment - 1) / alignment * alignment, '\0');
    return *this;
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

class GgufTest : public testing::Test {
 protected:
  fs::path Save(const Builder& builder) {
    WriteRaw(path_, builder.text());
    return path_;
  }
  void ExpectFault(ErrorKind kind, std::string_view part, const Builder& builder) {
    Save(builder);
    ExpectError(kind, {"bad.gguf", part}, [&] { GgufFile file(path_); });
  }
  void ExpectCorrupt(std::string_view part, const Builder& builder) {
    ExpectFault(ErrorKind::kCorrupt, part, builder);
  }

  TempDir dir_;
  const fs::path path_ = dir_ / "bad.gguf";
};

constexpr uint32_t kF32 = 0, kQ8_0 = 8;

Builder AllKinds() {
  Builder b;
  b.Head(2, 21);
  b.Pair<uint8_t>("u8", 0, 200).Pair<int8_t>("i8", 1, -5).Pair<uint16_t>("u16", 2, 60000);
  b.Pair<int16_t>("i16", 3, -6).Pair<uint32_t>("u32", 4, 4000000000u).Pair<int32_t>("i32", 5, -7);
  b.Pair<float>("f32", 6, 0.5f).Pair<uint8_t>("bool", 7, 1).Pair<uint64_t>("u64", 10, 1ull << 40);
  b.Pair<int64_t>("i64", 11, -8).Pair<double>("f64", 12, 1e-6).Pair<uint64_t>("huge", 10, UINT64_MAX);
  b.PutString("text").Put<uint32_t>(8).PutString(std::string("a\0é", 4));
  b.Array("ints", 5, 2).Put<int32_t>(-1).Put<int32_t>(2);
  b.Array("bytes", 0, 2).Put<uint8_t>(255).Put<uint8_t>(0);
  b.Array("longs", 10, 1).Put<uint64_t>(1ull << 50);
  b.Array("bools", 7, 2).Put<uint8_t>(1).Put<uint8_t>(0);
  b.Array("floats", 6, 1).Put<float>(2.5f);
  b.Array("doubles", 12, 0);
  b.Array("texts", 8, 2).PutString("x").PutString("");
  b.Array("shorts", 3, 1).Put<int16_t>(-9);
  b.Tensor("w", {3, 2}, kF32, 0).Tensor("q", {32, 2}, kQ8_0, 32);
  b.Align();
  for (int i = 0; i < 6; ++i) b.Put<float>(static_cast<float>(i));
  b.Align();
  return b.PutRaw(std::string(2 * 34, 'q'));
}

TEST_F(GgufTest, ReadsEveryKindOfValue) {
  const GgufFile file(Save(AllKinds()));
  EXPECT_EQ(file.GetInt("u8"), 200);
  EXPECT_EQ(file.GetInt("i8"), -5);
  EXPECT_EQ(file.GetInt("u16"), 60000);
  EXPECT_EQ(file.GetInt("i16"), -6);
  EXPECT_EQ(file.GetInt("u32"), 4000000000);
  EXPECT_EQ(file.GetInt("i32"), -7);
  EXPECT_EQ(file.GetInt("u64"), int64_t{1} << 40);
  EXPECT_EQ(file.GetInt("i64"), -8);
  EXPECT_EQ(file.GetDouble("f32"), 0.5);
  EXPECT_EQ(file.GetDouble("f64"), 1e-6);
  EXPECT_EQ(file.GetDouble("i32"), -7.0);
  EXPECT_TRUE(file.GetBool("bool"));
  EXPECT_EQ(file.GetString("text"), std::string("a\0é", 4));
  EXPECT_EQ(file.GetInts("ints"), (std::vector<int64_t>{-1, 2}));
  EXPECT_EQ(file.GetInts("bytes"), (std::vector<int64_t>{255, 0}));
  EXPECT_EQ(file.GetInts("longs"), std::vector<int64_t>{int64_t{1} << 50});
  EXPECT_EQ(file.GetInts("bools"), (std::vector<int64_t>{1, 0}));
  EXPECT_EQ(file.GetInts("shorts"), std::vector<int64_t>{-9});
  EXPECT_EQ(file.GetDoubles("floats"), std::vector<double>{2.5});
  EXPECT_TRUE(file.GetDoubles("doubles").empty());
  EXPECT_EQ(file.GetStrings("texts"), (std::vector<std::string_view>{"x", ""}));
  EXPECT_EQ(file.metadata().size(), 21u);
}

TEST_F(GgufTest, ReadsTensorsWithTheShapeOutermostFirst) {
  const GgufFile file(Save(AllKinds()));
  const GgufTensor& w = file.GetTensor("w");
  EXPECT_EQ(w.shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(w.type, GgmlType::kF32);
  ASSERT_EQ(w.bytes.size(), 24u);
  float last = 0;
  std::memcpy(&last, w.bytes.data() + 20, 4);
  EXPECT_EQ(last, 5.0f);
  EXPECT_EQ(file.GetTensor("q").bytes.size(), 68u);
  EXPECT_EQ(file.tensors().size(), 2u);
}

TEST_F(GgufTest, MissingAndWrongTypesNameFileAndKey) {
  const GgufFile file(Save(AllKinds()));
  ExpectError(ErrorKind::kCorrupt, {"bad.gguf", "\"none\"", "missing"}, [&] { file.GetInt("none"); });
  ExpectError(ErrorKind::kCorrupt, {"bad.gguf", "\"text\"", "integer"}, [&] { file.GetInt("text"); });
  ExpectError(ErrorKind::kCorrupt, {"\"huge\"", "integer"}, [&] { file.GetInt("huge"); });
  ExpectError(ErrorKind::kCorrupt, {"\"bool\""}, [&] { file.GetInt("bool"); });
  ExpectError(ErrorKind::kCorrupt, {"\"text\"", "number"}, [&] { file.GetDouble("text"); });
  ExpectError(ErrorKind::kCorrupt, {"\"i32\"", "true or false"}, [&] { file.GetBool("i32"); });
  ExpectError(ErrorKind::kCorrupt, {"\"i32\"", "string"}, [&] { file.GetString("i32"); });
  ExpectError(ErrorKind::kCorrupt, {"\"ints\"", "strings"}, [&] { file.GetStrings("ints"); });
  ExpectError(ErrorKind::kCorrupt, {"\"texts\"", "integers"}, [&] { file.GetInts("texts"); });
  ExpectError(ErrorKind::kCorrupt, {"\"ints\"", "numbers"}, [&] { file.GetDoubles("ints"); });
  ExpectError(ErrorKind::kCorrupt, {"bad.gguf", "\"v\""}, [&] { file.GetTensor("v"); });
  EXPECT_TRUE(file.Contains("text"));
  EXPECT_FALSE(file.Contains("none"));
}

TEST_F(GgufTest, EveryTruncationIsFound) {
  const std::string good = AllKinds().text();
  for (size_t size = 0; size < good.size(); ++size) {
    Builder cut;
    cut.PutRaw(good.substr(0, size));
    Save(cut);
    ExpectError(ErrorKind::kCorrupt, {"bad.gguf"}, [&] { GgufFile file(path_); });
  }
}

TEST_F(GgufTest, RandomDamageNeverDoesMoreThanThrow) {
  const std::string good = AllKinds().text();
  Rng rng(1);
  int num_thrown = 0;
  for (int round = 0; round < 1000 * DamageEffort(); ++round) {
    std::string bad = good;
    for (int i = 0; i < 3; ++i) bad[rng.Below(bad.size())] = static_cast<char>(rng.Below(256));
    WriteRaw(path_, bad);
    try {
      GgufFile file(path_);
    } catch (const Error& error) {
      EXPECT_TRUE(error.kind() == ErrorKind::kCorrupt || error.kind() == ErrorKind::kInvalidInput)
          << error.what();
      ++num_thrown;
    }
  }
  EXPECT_GT(num_thrown, 300);
}

TEST_F(GgufTest, MagicAndVersion) {
  ExpectCorrupt("GGUF", Builder().PutRaw("GGML").Put<uint32_t>(3).Put<uint64_t>(0).Put<uint64_t>(0));
  ExpectCorrupt("GGUF", Builder());
  ExpectFault(ErrorKind::kInvalidInput, "version 1", Builder().Head(0, 0, 1));
  ExpectFault(ErrorKind::kInvalidInput, "version 4", Builder().Head(0, 0, 4));
  ExpectFault(ErrorKind::kInvalidInput, "big-endian", Builder().Head(0, 0, 0x03000000));
  EXPECT_TRUE(GgufFile(Save(Builder().Head(0, 0, 2))).tensors().empty());
}

TEST_F(GgufTest, CountsAreNotBelieved) {
  for (uint64_t count : {uint64_t{1} << 20, uint64_t{1} << 60, UINT64_MAX}) {
    ExpectCorrupt("tensor count", Builder().Head(count, 0));
    ExpectCorrupt("metadata count", Builder().Head(0, count));
    ExpectCorrupt("\"culprit\"", Builder().Head(0, 1).Array("culprit", 5, count).PutRaw("abcd"));
    ExpectCorrupt("\"culprit\"", Builder().Head(0, 1).Array("culprit", 8, count).PutRaw("abcd"));
    ExpectCorrupt("\"culprit\"", Builder().Head(0, 1).Array("culprit", 6, count).PutRaw("abcd"));
    ExpectCorrupt("\"culprit\"", Builder().Head(0, 1).Array("culprit", 7, count).PutRaw("abcd"));
    ExpectCorrupt("metadata key 0", Builder().Head(0, 1).Put(count).PutRaw(std::string(64, 'k')));
    ExpectCorrupt("\"culprit\"",
                  Builder().Head(0, 1).PutString("culprit").Put<uint32_t>(8).Put(count).PutRaw("abc"));
    ExpectCorrupt("name of tensor 0", Builder().Head(1, 0).Put(count).PutRaw(std::string(64, 'k')));
  }
}

TEST_F(GgufTest, ValuesAreChecked) {
  ExpectCorrupt("unknown type 13", Builder().Head(0, 1).Pair<uint64_t>("culprit", 13, 0));
  ExpectCorrupt("unknown type 99", Builder().Head(0, 1).Array("culprit", 99, 1).Put<uint64_t>(0));
  ExpectCorrupt("truth value", Builder().Head(0, 1).Pair<uint8_t>("culprit", 7, 2));
  ExpectCorrupt("63 bits", Builder().Head(0, 1).Array("culprit", 10, 1).Put<uint64_t>(UINT64_MAX));
  ExpectFault(ErrorKind::kInvalidInput, "array of arrays",
              Builder().Head(0, 1).Array("culprit", 9, 1).Put<uint64_t>(0).Put<uint64_t>(0));
  ExpectCorrupt("\"twice\" appears twice",
                Builder().Head(0, 2).Pair<int32_t>("twice", 5, 1).Pair<int32_t>("twice", 5, 1));
  for (uint32_t alignment : {0u, 3u, 48u}) {
    ExpectCorrupt("general.alignment",
                  Builder().Head(0, 1).Pair<uint32_t>("general.alignment", 4, alignment));
  }
  ExpectCorrupt("general.alignment", Builder().Head(0, 1).Pair<int64_t>("general.alignment", 11, -32));
}

TEST_F(GgufTest, AlignmentKeyIsFollowed) {
  Builder b;
  b.Head(2, 1).Pair<uint32_t>("general.alignment", 4, 64);
  b.Tensor("a", {2}, kF32, 0)
      .Tensor("b", {2}, kF32, 64)
      .Align(64)
      .Put(1.0f)
      .Put(2.0f)
      .Align(64)
      .Put(3.0f)
      .Put(4.0f);
  const GgufFile file(Save(b));
  EXPECT_EQ(file.GetTensor("b").bytes.data() - file.GetTensor("a").bytes.data(), 64);
  float value = 0;
  std::memcpy(&value, file.GetTensor("b").bytes.data(), 4);
  EXPECT_EQ(value, 3.0f);
}

TEST_F(GgufTest, TensorEntriesAreChecked) {
  const std::string data(64, 'x');
  const auto one = [&](std::vector<uint64_t> shape, uint32_t type, uint64_t offset) {
    return Builder().Head(1, 0).Tensor("culprit", shape, type, offset).Align().PutRaw(data);
  };
  EXPECT_EQ(GgufFile(Save(one({16}, kF32, 0))).GetTensor("culprit").bytes.size(), 64u);
  EXPECT_EQ(GgufFile(Save(one({}, kF32, 0))).GetTensor("culprit").bytes.size(), 4u);
  ExpectCorrupt("\"culprit\"", one({17}, kF32, 0));
  ExpectCorrupt("\"culprit\"", one({16}, kF32, 32));
  ExpectCorrupt("\"culprit\"", one({1}, kF32, uint64_t{1} << 60));
  ExpectCorrupt("\"culprit\"", one({1}, kF32, UINT64_MAX - 31));
  ExpectCorrupt("not aligned", one({1}, kF32, 4));
  ExpectCorrupt("dimensions", one({1, 1, 1, 1, 1}, kF32, 0));
  ExpectCorrupt("dimension 18446744073709551615", one({UINT64_MAX}, kF32, 0));
  ExpectCorrupt("overflows", one({uint64_t{1} << 62}, kF32, 0));
  ExpectCorrupt("overflows", one({uint64_t{1} << 32, uint64_t{1} << 32}, kF32, 0));
  ExpectCorrupt("multiple", one({31}, kQ8_0, 0));
  ExpectFault(ErrorKind::kInvalidInput, "\"culprit\" is of type 16", one({256}, 16, 0));
  ExpectCorrupt(
      "\"a\" appears twice",
      Builder().Head(2, 0).Tensor("a", {1}, kF32, 0).Tensor("a", {1}, kF32, 32).Align().PutRaw(data));
  ExpectCorrupt(
      "overlap",
      Builder().Head(2, 0).Tensor("a", {16}, kF32, 0).Tensor("b", {1}, kF32, 32).Align().PutRaw(data));
  ExpectCorrupt(
      "overlap",
      Builder().Head(2, 0).Tensor("a", {1}, kF32, 0).Tensor("b", {1}, kF32, 0).Align().PutRaw(data));
}

TEST(GgmlTypeTest, SizesAndNames) {
  EXPECT_EQ(GgmlTypeName(12), "Q4_K");
  EXPECT_EQ(GgmlTypeName(99), "type 99");
  EXPECT_EQ(GgmlBlockElements(GgmlType::kQ6_K), 256);
  // Bits per weight as ggml publishes them.
  const std::vector<std::pair<GgmlType, double>> bits = {
      {GgmlType::kF32, 32},   {GgmlType::kF16, 16},   {GgmlType::kBF16, 16},    {GgmlType::kQ4_0, 4.5},
      {GgmlType::kQ4_1, 5},   {GgmlType::kQ5_0, 5.5}, {GgmlType::kQ5_1, 6},     {GgmlType::kQ8_0, 8.5},
      {GgmlType::kQ4_K, 4.5}, {GgmlType::kQ5_K, 5.5}, {GgmlType::kQ6_K, 6.5625}};
  for (const auto& [type, expected] : bits) {
    EXPECT_EQ(8.0 * static_cast<double>(GgmlBlockBytes(type)) / static_cast<double>(GgmlBlockElements(type)),
              expected);
  }
}

}  // namespace
}  // namespace elrea
