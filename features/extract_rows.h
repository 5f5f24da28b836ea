// Features of many rows into stores, chunk by chunk, so that a killed extraction goes on where it was.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "features/feature_store.h"
#include "features/features.h"

namespace elrea {

// Where the features of one length go.
struct FeatureTarget {
  int64_t dim;
  std::filesystem::path directory;
};

// Of the instructions' tokens, as FeatureStoreSpec::rows has it.
std::string InstructionsChecksum(const std::vector<std::span<const int32_t>>& instructions);

// `targets` in the order of the extractor's lengths; the first one is finished last. Does nothing when the folders hold the
// finished features of the same rows. Returns how many rows this call extracted: the others were there. Errors as of
// FeatureStoreWriter and FeatureExtractor::ExtractAll.
int64_t ExtractToStores(FeatureExtractor& extractor, const std::vector<std::span<const int32_t>>& instructions,
                     const std::vector<FeatureTarget>& targets);

}  // namespace elrea
