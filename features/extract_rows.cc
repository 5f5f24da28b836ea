#include "features/extract_rows.h"

#include <algorithm>
#include <deque>

#include "core/files.h"
#include "core/log.h"

namespace elrea {
namespace {

constexpr int64_t kRowsPerChunk = 64;  // saved together; fixes the batches, so that resuming repeats them

// Rows that all stores have. A session may have been killed when some had a chunk that others had not; then they are
// ahead by that chunk, or finished.
int64_t NumDone(const std::deque<FeatureStoreWriter>& stores) {
  const auto fewer = [](const FeatureStoreWriter& a, const FeatureStoreWriter& b) { return a.num_done() < b.num_done(); };
  return std::min_element(stores.begin(), stores.end(), fewer)->num_done();
}

}  // namespace

std::string InstructionsChecksum(const std::vector<std::span<const int32_t>>& instructions) {
  std::string bytes;
  for (const auto& instruction : instructions) {
    bytes.append(reinterpret_cast<const char*>(instruction.data()), instruction.size_bytes());
    bytes += '\n';
  }
  return ChecksumHex(bytes);
}

int64_t ExtractToStores(FeatureExtractor& extractor, const std::vector<std::span<const int32_t>>& instructions,
                     const std::vector<FeatureTarget>& targets) {
  const auto num_rows = static_cast<int64_t>(instructions.size());
  const std::string rows = InstructionsChecksum(instructions);
  std::deque<FeatureStoreWriter> stores;
  for (size_t i = 0; i < targets.size(); ++i) {
    stores.emplace_back(targets[i].directory,
                        FeatureStoreSpec{num_rows, targets[i].dim, extractor.fingerprint(i), rows});
  }
  Progress progress("features", num_rows, "rows");
  const int64_t there = NumDone(stores);
  progress.StartAt(there);
  if (NumDone(stores) < num_rows) extractor.ShareBeginning(CommonBeginning(instructions));
  for (int64_t begin = NumDone(stores); begin < num_rows; begin = NumDone(stores)) {
    const int64_t end = std::min(begin + kRowsPerChunk, num_rows);
    const std::vector<std::vector<float>> features =
        extractor.ExtractAll({instructions.begin() + begin, instructions.begin() + end});
    for (size_t i = 0; i < targets.size(); ++i) {
      if (stores[i].num_done() == begin) stores[i].Append(features[i]);
    }
    progress.Set(end);
  }
  for (size_t i = stores.size(); i-- > 0;) stores[i].Finish();
  return num_rows - there;
}

}  // namespace elrea
