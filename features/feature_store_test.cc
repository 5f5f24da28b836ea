#include "features/feature_store.h"

#include <gtest/gtest.h>

#include <cstring>
#include <numeric>

#include "core/damage.h"
#include "core/error.h"
#include "core/temp_dir.h"

namespace elrea {
namespace {

class FeatureStoreTest : public testing::Test {
 protected:
  FeatureStoreTest() : values_(10 * 16) { std::iota(values_.begin(), values_.end(), 0.5f); }
  std::span<const float> Rows(int64_t begin, int64_t end) const {
    return std::span(values_).subspan(begin * 16, (end - begin) * 16);
  }
  std::string WriteWhole(const fs::path& directory) const {
    FeatureStoreWriter writer(directory, spec_);
    writer.Append(Rows(0, 4));
    writer.Append(Rows(4, 8));
    writer.Append(Rows(8, 10));
    writer.Finish();
    return ReadFile(directory / kFeaturesFileName);
  }
  void ExpectError(const std::function<void()>& act, ErrorKind kind, const std::string& culprit) {
    try {
      act();
      FAIL() << "no error; expected one naming " << culprit;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), kind) << error.message();
      EXPECT_NE(error.message().find(culprit), std::string::npos) << error.message();
    }
  }
  FeatureStoreSpec spec_{10, 16, "options", "text"};
  std::vector<float> values_;
  TempDir temp_;
};

TEST_F(FeatureStoreTest, RowsComeBack) {
  WriteWhole(temp_ / "f");
  FeatureStore store(temp_ / "f");
  EXPECT_EQ(store.num_rows(), 10);
  EXPECT_TRUE(std::equal(values_.begin(), values_.end(), store.all().begin(), store.all().end()));
  EXPECT_EQ(store.row(3)[2], values_[3 * 16 + 2]);
  FeatureStoreWriter again(temp_ / "f", spec_);
  EXPECT_TRUE(again.finished());
}

TEST_F(FeatureStoreTest, GoesOnAfterTheLastWholeChunkWithTheSameBytes) {
  std::string expected = WriteWhole(temp_ / "whole");
  fs::path directory = temp_ / "cut";
  {
    FeatureStoreWriter writer(directory, spec_);
    writer.Append(Rows(0, 4));
  }
  std::string partial = ReadFile(directory / "partial.bin");
  WriteFileAtomically(directory / "partial.bin", partial + "half a chunk");  // killed while appending
  EXPECT_THROW(FeatureStore{directory}, Error);
  FeatureStoreWriter writer(directory, spec_);
  EXPECT_EQ(writer.num_done(), 4);
  writer.Append(Rows(4, 8));
  writer.Append(Rows(8, 10));
  writer.Finish();
  EXPECT_EQ(ReadFile(directory / kFeaturesFileName), expected);
  EXPECT_FALSE(fs::exists(directory / "partial.bin"));
}

TEST_F(FeatureStoreTest, AnotherSpecIsRefusedByName) {
  fs::path directory = temp_ / "f";
  { FeatureStoreWriter(directory, spec_).Append(Rows(0, 4)); }
  FeatureStoreSpec other = spec_;
  other.dim = 32;
  ExpectError([&] { FeatureStoreWriter(directory, other); }, ErrorKind::kInvalidInput, "projection_dim");
  other = spec_;
  other.fingerprint = "x";
  ExpectError([&] { FeatureStoreWriter(directory, other); }, ErrorKind::kInvalidInput, "checkpoints");
  other = spec_;
  other.rows = "x";
  ExpectError([&] { FeatureStoreWriter(directory, other); }, ErrorKind::kInvalidInput, "text");
}

TEST_F(FeatureStoreTest, AFormatOfAnotherVersionIsRefused) {
  fs::path directory = temp_ / "f";
  { FeatureStoreWriter(directory, spec_).Append(Rows(0, 4)); }
  Json manifest = ReadJsonFile(directory / "partial.json");
  manifest["format_version"] = 2;
  WriteJsonFile(directory / "partial.json", manifest);
  ExpectError([&] { FeatureStoreWriter(directory, spec_); }, ErrorKind::kInvalidInput, "format_version is 2");
}

TEST_F(FeatureStoreTest, DamageIsFound) {
  fs::path directory = temp_ / "f";
  { FeatureStoreWriter(directory, spec_).Append(Rows(0, 4)); }
  std::string bytes = ReadFile(directory / "partial.bin");
  bytes[40] = static_cast<char>(bytes[40] ^ 1);
  WriteFileAtomically(directory / "partial.bin", bytes);
  ExpectError([&] { FeatureStoreWriter(directory, spec_); }, ErrorKind::kCorrupt, "partial.bin");
  WriteWhole(temp_ / "g");
  bytes = ReadFile(temp_ / "g" / kFeaturesFileName);
  bytes[bytes.size() - 3] = static_cast<char>(bytes[bytes.size() - 3] ^ 1);
  WriteFileAtomically(temp_ / "g" / kFeaturesFileName, bytes);
  ExpectError([&] { FeatureStore store(temp_ / "g"); }, ErrorKind::kCorrupt, kFeaturesFileName);
}

// Rows are read where they lie in the file, so they must lie as numbers may.
TEST_F(FeatureStoreTest, AHeaderWithoutPaddingIsRefused) {
  std::string bytes = WriteWhole(temp_ / "f");
  uint64_t header_bytes;
  std::memcpy(&header_bytes, bytes.data(), sizeof header_bytes);
  bytes.insert(sizeof header_bytes + header_bytes++, " ");
  std::memcpy(bytes.data(), &header_bytes, sizeof header_bytes);
  WriteUnsynced(temp_ / "f" / kFeaturesFileName, bytes);
  ExpectError([&] { FeatureStore store(temp_ / "f"); }, ErrorKind::kCorrupt, "not padded");
}

TEST_F(FeatureStoreTest, DamagedPartsAreTakenUpRightOrRefused) {
  const fs::path directory = temp_ / "f";
  {
    FeatureStoreWriter writer(directory, spec_);
    writer.Append(Rows(0, 4));
    writer.Append(Rows(4, 8));
  }
  const std::string part = ReadFile(directory / "partial.bin"), manifest = ReadFile(directory / "partial.json");
  for (const char* file : {"partial.bin", "partial.json"}) {
    const DamageOptions options{.cut_every = fs::file_size(directory / file) / 25 + 1, .flips = 200};
    const DamageCounts counts = ReadDamaged(directory / file, directory.string(), options, [&] {
      const std::string_view kept = file == std::string_view("partial.bin") ? "partial.json" : "partial.bin";
      WriteUnsynced(directory / kept, kept == "partial.bin" ? part : manifest);
      const int64_t num_done = FeatureStoreWriter(directory, spec_).num_done();
      ASSERT_TRUE(num_done == 0 || num_done == 4 || num_done == 8) << num_done;
      const std::string_view left = std::string_view(part).substr(0, static_cast<size_t>(num_done) * 16 * sizeof(float));
      EXPECT_EQ(ReadFile(directory / "partial.bin").substr(0, left.size()), left);
    });
    EXPECT_GT(counts.refused, counts.cuts / 2) << file;
  }
  WriteUnsynced(directory / "partial.bin", part);
  Json hostile = ParseJson(manifest, "partial.json");
  for (const int64_t rows : {INT64_MAX, INT64_MIN, int64_t{1} << 60, int64_t{-1}, int64_t{0}, int64_t{11}}) {
    hostile["chunks"][1]["rows"] = rows;
    WriteJsonFile(directory / "partial.json", hostile);
    ExpectError([&] { FeatureStoreWriter(directory, spec_); }, ErrorKind::kCorrupt, "rows from 5");
  }
}

}  // namespace
}  // namespace elrea
