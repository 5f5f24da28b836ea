#include "features/feature_store.h"

#include <gtest/gtest.h>

#include <numeric>

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

}  // namespace
}  // namespace elrea
