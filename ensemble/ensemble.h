// Everything that answers requests of one run, put together: backbone, adapters, and the way from a request's
// instruction to the weights of the adapters (method sections 2 and 5).
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "cluster/cluster_features.h"
#include "cluster/row_matrix.h"
#include "ensemble/expert_bank.h"
#include "ensemble/prefix_cache.h"
#include "ensemble/router.h"
#include "features/features.h"

namespace elrea {

// What routing needs beside the adapters.
struct RouterParts {
  std::unique_ptr<FeatureExtractor> extractor;  // with the checkpoints the clusters were made from
  Clustering clustering;
  RoutingOptions options;
};

// Single-thread use. The decoder must outlive it.
class Ensemble {
 public:
  // Cannot route: the backbone and the base adapter alone.
  Ensemble(const Decoder& decoder, ExpertBank bank) : decoder_(decoder), bank_(std::move(bank)) {}
  // kInvalidInput when there is not one expert per cluster.
  Ensemble(const Decoder& decoder, ExpertBank bank, RouterParts router);

  const Decoder& decoder() const { return decoder_; }
  const ExpertBank& bank() const { return bank_; }
  bool can_route() const { return router_.extractor != nullptr; }
  const Clustering& clustering() const { return router_.clustering; }

  const RoutingOptions& routing_options() const { return router_.options; }

  // Features [prompts][feat] of instructions (token ids, at least 2 each) as they are compared with centroids, extracted
  // in packed batches. REQUIRES: can_route(). kInvalidInput naming the prompt that is longer than the context.
  // `read`, if not null, keeps what was read of the instructions under the base adapter on the way.
  std::vector<std::vector<float>> Features(const std::vector<std::span<const int32_t>>& instructions,
                                           PrefixCache* read = nullptr);
  // The routing of one such feature. Thread-safe. REQUIRES: can_route().
  Routing RouteFeature(std::span<const float> feature, const RoutingOptions& options) const;

  // One routing per instruction: both of the above. `features`, if not null, receives the features.
  std::vector<Routing> RouteBatch(const std::vector<std::span<const int32_t>>& instructions,
                                  std::vector<std::vector<float>>* features = nullptr, PrefixCache* read = nullptr);

 private:
  const Decoder& decoder_;
  ExpertBank bank_;
  RouterParts router_;
};

struct Neighbour {
  int64_t row = 0;
  double cosine = 0;
};

// The rows nearest to a feature by cosine, nearest first, of equals the lower row. `feature` as RouteBatch
// returned it; `rows` [examples, feat] as they are stored; `mean` [feat], or empty, is subtracted from rows
// first.
std::vector<Neighbour> NearestRows(RowMatrix rows, std::span<const float> mean,
                                   std::span<const float> feature, int64_t count);

}  // namespace elrea
