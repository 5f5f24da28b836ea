#include "core/safetensors.h"

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
void WritePlain(const fs::path& path, const std::string& bytes) {
  fs::remove(path);
  std::ofstream(path, std::ios::binary) << bytes;
}

template <typename T>
std::span<const std::byte> Bytes(const std::vector<T>& values) {
  return std::as_bytes(std::span<const T>(values));
}

std::string LittleEndian(uint64_t value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof(value));
}

// A file of header `json` and `data`, with the true header length unless another is given.
void WriteRaw(const fs::path& path, const std::string& json, const std::string& data,
              std::optional<uint64_t> length = std::nullopt) {
  WritePlain(path, LittleEndian(length.value_or(json.size())) + json + data);
}

std::string Text(std::span<const std::byte> bytes) {
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

class SafetensorsTest : public testing::Test {
 protected:
  // Expects a kCorrupt error naming the file and `part`.
  void ExpectCorrupt(const std::string& json, const std::string& data, std::string_view part,
                     std::optional<uint64_t> length = std::nullopt) {
    WriteRaw(path_, json, data, length);
    ExpectError(ErrorKind::kCorrupt, {"bad.safetensors", part}, [&] { SafetensorsFile file(path_); });
  }

  TempDir dir_;
  const fs::path path_ = dir_ / "bad.safetensors";
};

TEST_F(SafetensorsTest, RoundTripOfEveryType) {
  const std::vector<double> f64 = {1.5, -2.5};
  const std::vector<float> f32 = {1, 2, 3, 4, 5, 6};
  const std::vector<uint16_t> half = {0x3c00, 0xbf80};
  const std::vector<int64_t> i64 = {INT64_MIN, 7};
  const std::vector<int32_t> i32 = {-3};
  const std::vector<int16_t> i16 = {-4, 5};
  const std::vector<uint8_t> bytes = {1, 0, 255};
  const std::vector<NamedTensor> tensors = {
      {"z.f64", DType::kF64, {2}, Bytes(f64)},  {"f32", DType::kF32, {2, 3}, Bytes(f32)},
      {"f16", DType::kF16, {2}, Bytes(half)},   {"bf16", DType::kBF16, {2, 1}, Bytes(half)},
      {"i64", DType::kI64, {2}, Bytes(i64)},    {"scalar", DType::kI32, {}, Bytes(i32)},
      {"i16", DType::kI16, {1, 2}, Bytes(i16)}, {"i8", DType::kI8, {3}, Bytes(bytes)},
      {"u8", DType::kU8, {3}, Bytes(bytes)},    {"bool", DType::kBool, {1}, Bytes(bytes).first(1)},
      {"empty", DType::kF32, {0, 5}, {}},       {"a \"quoted\"\né", DType::kU8, {3}, Bytes(bytes)},
  };
  WriteSafetensors(path_, tensors, {{"format", "pt"}});
  const SafetensorsFile file(path_);
  EXPECT_EQ(file.tensors().size(), tensors.size());
  for (const NamedTensor& tensor : tensors) {
    const TensorView& view = file.Get(tensor.name);
    EXPECT_EQ(view.dtype, tensor.dtype) << tensor.name;
    EXPECT_EQ(view.shape, tensor.shape) << tensor.name;
    EXPECT_EQ(Text(view.bytes), Text(tensor.bytes)) << tensor.name;
    EXPECT_EQ(reinterpret_cast<uintptr_t>(view.bytes.data()) % DTypeBytes(tensor.dtype), 0u) << tensor.name;
  }
  EXPECT_EQ(file.metadata().at("format"), "pt");
  EXPECT_EQ(file.metadata().count("elrea.checksum"), 1u);
  VerifySafetensors(file);
}

TEST_F(SafetensorsTest, EqualInputGivesEqualBytesWhateverTheOrder) {
  const std::vector<float> a = {1}, b = {2};
  WriteSafetensors(dir_ / "1", {{"a", DType::kF32, {1}, Bytes(a)}, {"b", DType::kF32, {1}, Bytes(b)}});
  WriteSafetensors(dir_ / "2", {{"b", DType::kF32, {1}, Bytes(b)}, {"a", DType::kF32, {1}, Bytes(a)}});
  EXPECT_EQ(ReadFile(dir_ / "1"), ReadFile(dir_ / "2"));
}

TEST_F(SafetensorsTest, WithoutChecksumNothingIsAdded) {
  WriteSafetensors(path_, {}, {}, false);
  EXPECT_EQ(ReadFile(path_), LittleEndian(8) + "{}      ");
  VerifySafetensors(SafetensorsFile(path_));
}

TEST_F(SafetensorsTest, EveryFlippedDataBitIsFound) {
  const std::vector<float> values = {1, 2, 3};
  WriteSafetensors(path_, {{"a", DType::kF32, {1}, Bytes(values).first(4)},
                           {"b", DType::kF32, {2}, Bytes(values).last(8)}});
  const std::string good = ReadFile(path_);
  for (size_t i = good.size() - 12; i < good.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string bad = good;
      bad[i] = static_cast<char>(bad[i] ^ (1 << bit));
      WritePlain(path_, bad);
      ExpectError(ErrorKind::kCorrupt, {"bad.safetensors", "checksum"},
                  [&] { VerifySafetensors(SafetensorsFile(path_)); });
    }
  }
}

TEST_F(SafetensorsTest, EveryTruncationIsFound) {
  const std::vector<float> values = {1, 2, 3};
  WriteSafetensors(path_, {{"a", DType::kF32, {3}, Bytes(values)}});
  const std::string good = ReadFile(path_);
  for (size_t size = 0; size < good.size(); ++size) {
    WritePlain(path_, good.substr(0, size));
    ExpectError(ErrorKind::kCorrupt, {"bad.safetensors"}, [&] { SafetensorsFile file(path_); });
  }
}

TEST_F(SafetensorsTest, RandomDamageNeverDoesMoreThanThrow) {
  const std::vector<float> values = {1, 2, 3};
  WriteSafetensors(path_,
                   {{"a", DType::kF32, {3}, Bytes(values)}, {"b", DType::kF32, {3, 1}, Bytes(values)}});
  const std::string good = ReadFile(path_);
  Rng rng(1);
  int num_thrown = 0;
  for (int round = 0; round < 500 * DamageEffort(); ++round) {
    std::string bad = good;
    for (int i = 0; i < 3; ++i) bad[rng.Below(bad.size())] = static_cast<char>(rng.Below(256));
    WritePlain(path_, bad);
    try {
      VerifySafetensors(SafetensorsFile(path_));
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kCorrupt) << error.what();
      ++num_thrown;
    }
  }
  EXPECT_GT(num_thrown, 400);
}

TEST_F(SafetensorsTest, HeaderLengthIsNotBelieved) {
  for (uint64_t length : {uint64_t{3}, uint64_t{1} << 20, uint64_t{1} << 60, UINT64_MAX, UINT64_MAX - 7}) {
    ExpectCorrupt("{}", "", length == 3 ? "header length 3" : "exceeds", length);
  }
}

TEST_F(SafetensorsTest, HeaderMustBeAnObjectOfObjects) {
  ExpectCorrupt("[]", "", "not a JSON object");
  ExpectCorrupt("{\"a\": 3}", "", "\"a\"");
  ExpectCorrupt("{\"a\": }", "", "not valid JSON");
  ExpectCorrupt("{\"__metadata__\": 3}", "", "__metadata__");
  ExpectCorrupt("{\"__metadata__\": {\"k\": 3}}", "", "\"k\"");
  ExpectCorrupt("{\"a\": " + std::string(100'000, '[') + std::string(100'000, ']') + "}", "", "nested");
}

TEST_F(SafetensorsTest, EntriesAreChecked) {
  const auto entry = [](const std::string& dtype, const std::string& shape, const std::string& offsets) {
    return "{\"culprit\":{\"dtype\":" + dtype + ",\"shape\":" + shape + ",\"data_offsets\":" + offsets + "}}";
  };
  const std::string data(8, 'x');
  WriteRaw(path_, entry("\"F32\"", "[2]", "[0,8]"), data);
  EXPECT_EQ(SafetensorsFile(path_).Get("culprit").bytes.size(), 8u);

  ExpectCorrupt(entry("\"F99\"", "[2]", "[0,8]"), data, "F99");
  ExpectCorrupt(entry("3", "[2]", "[0,8]"), data, "dtype");
  ExpectCorrupt(entry("\"F32\"", "[3]", "[0,8]"), data, "culprit");
  ExpectCorrupt(entry("\"F32\"", "[-2]", "[0,8]"), data, "culprit");
  ExpectCorrupt(entry("\"F32\"", "[2.5]", "[0,8]"), data, "shape");
  ExpectCorrupt(entry("\"F32\"", "\"2\"", "[0,8]"), data, "shape");
  ExpectCorrupt(entry("\"F32\"", "[2]", "[0,9]"), data, "culprit");
  ExpectCorrupt(entry("\"F32\"", "[2]", "[8,0]"), data, "culprit");
  ExpectCorrupt(entry("\"F32\"", "[2]", "[0]"), data, "culprit");
  ExpectCorrupt(entry("\"F32\"", "[2]", "[-8,0]"), data, "data_offsets");
  ExpectCorrupt(entry("\"F32\"", "[2]", "[18446744073709551608,18446744073709551615]"), data, "culprit");
  // 2^62 * 4 and 2^32 * 2^32 * 4 are 0 in 64 bits.
  ExpectCorrupt(entry("\"F32\"", "[4611686018427387904]", "[0,0]"), "", "culprit");
  ExpectCorrupt(entry("\"F32\"", "[4294967296,4294967296]", "[0,0]"), "", "culprit");
  ExpectCorrupt("{\"culprit\":{\"shape\":[2],\"data_offsets\":[0,8]}}", data, "dtype");
}

TEST_F(SafetensorsTest, TensorsMustTileTheData) {
  const auto two = [](const std::string& first, const std::string& second) {
    return "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":" + first +
           "},\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":" + second + "}}";
  };
  WriteRaw(path_, two("[4,8]", "[0,4]"), "bbbbaaaa");
  EXPECT_EQ(Text(SafetensorsFile(path_).Get("a").bytes), "aaaa");
  ExpectCorrupt(two("[0,4]", "[2,6]"), "xxxxxx", "\"b\" overlaps");
  ExpectCorrupt(two("[0,4]", "[0,4]"), "xxxx", "overlaps");
  ExpectCorrupt(two("[0,4]", "[5,9]"), "xxxxxxxxx", "before tensor \"b\"");
  ExpectCorrupt(two("[1,5]", "[5,9]"), "xxxxxxxxx", "before tensor \"a\"");
  ExpectCorrupt(two("[0,4]", "[4,8]"), "xxxxxxxxx", "after the last");
}

TEST_F(SafetensorsTest, MissingTensorNamesFileAndTensor) {
  WriteSafetensors(path_, {});
  const SafetensorsFile file(path_);
  EXPECT_FALSE(file.Contains("w"));
  ExpectError(ErrorKind::kCorrupt, {"bad.safetensors", "\"w\""}, [&] { file.Get("w"); });
  ExpectError(ErrorKind::kNotFound, {"none"}, [&] { SafetensorsFile none(dir_ / "none"); });
}

TEST_F(SafetensorsTest, WritersMistakesAreCaught) {
  const std::vector<float> values = {1, 2};
  ExpectError(ErrorKind::kInternal, {"\"a\"", "8 bytes"}, [&] {
    WriteSafetensors(path_, {{"a", DType::kF32, {3}, Bytes(values)}});
  });
  ExpectError(ErrorKind::kInternal, {"\"a\""}, [&] {
    WriteSafetensors(path_, {{"a", DType::kF32, {2}, Bytes(values)}, {"a", DType::kI32, {2}, Bytes(values)}});
  });
  ExpectError(ErrorKind::kInternal, {"__metadata__"}, [&] {
    WriteSafetensors(path_, {{"__metadata__", DType::kF32, {2}, Bytes(values)}});
  });
  EXPECT_FALSE(fs::exists(path_));
}

}  // namespace
}  // namespace elrea
