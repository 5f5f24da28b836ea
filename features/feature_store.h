// Features of all rows of a run on disk: appended chunk by chunk while they are computed, then one memory-mapped
// safetensors file (tensor "features" [rows, feat] f32). Killed at any moment, the next session goes on after the last
// whole chunk, and the finished file has the same bytes. Files: docs/formats.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

#include "core/json.h"
#include "core/safetensors.h"

namespace elrea {

constexpr const char* kFeaturesFileName = "features.safetensors";

// What the features of a directory are of. Two sessions may share a directory only when all of it is equal.
struct FeatureStoreSpec {
  int64_t num_rows = 0;
  int64_t dim = 0;
  std::string fingerprint;  // of checkpoints, projection and options (FeatureExtractor::fingerprint)
  std::string rows;         // checksum of the rows' instructions
  bool operator==(const FeatureStoreSpec&) const = default;
};

// Single-thread.
class FeatureStoreWriter {
 public:
  // Starts, or goes on with what the directory holds. kInvalidInput naming what differs when that is of another spec;
  // kCorrupt when a chunk does not match its checksum.
  FeatureStoreWriter(std::filesystem::path directory, const FeatureStoreSpec& spec);
  ~FeatureStoreWriter();
  FeatureStoreWriter(const FeatureStoreWriter&) = delete;
  FeatureStoreWriter& operator=(const FeatureStoreWriter&) = delete;

  int64_t num_done() const { return num_done_; }
  bool finished() const { return finished_; }

  // The next rows, [count, dim] row-major; on the disk when it returns.
  void Append(std::span<const float> rows);
  // Writes the final file and removes the partial ones. REQUIRES: num_done() == spec.num_rows.
  void Finish();

 private:
  void Resume(const Json& manifest);
  void SaveManifest() const;
  std::filesystem::path directory_;
  FeatureStoreSpec spec_;
  Json chunks_ = Json::array();
  int64_t num_done_ = 0;
  int fd_ = -1;
  bool finished_ = false;
};

// A finished store, mapped. Const-shareable.
class FeatureStore {
 public:
  // kNotFound when the stage is not finished, kCorrupt when the file is damaged.
  explicit FeatureStore(const std::filesystem::path& directory);

  const FeatureStoreSpec& spec() const { return spec_; }
  int64_t num_rows() const { return spec_.num_rows; }
  int64_t dim() const { return spec_.dim; }
  std::span<const float> all() const { return values_; }  // [rows * feat]
  std::span<const float> row(int64_t i) const { return values_.subspan(i * spec_.dim, spec_.dim); }

 private:
  std::unique_ptr<SafetensorsFile> file_;
  FeatureStoreSpec spec_;
  std::span<const float> values_;
};

}  // namespace elrea
