// Gradient features of rows and requests (method section 2): the Adam-adjusted gradient of the mean next-token loss
// over the instruction tokens, per example, projected, averaged over the checkpoints and normalised. Training rows and
// requests go through the same code.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/options.h"
#include "features/example_gradients.h"
#include "features/projection.h"
#include "features/shared_beginning.h"
#include "lora/lora_weights.h"
#include "model/decoder.h"
#include "model/kv_cache.h"

namespace elrea {

constexpr int64_t kMinProjectionDim = 16, kMaxProjectionDim = 1 << 20;

struct FeatureOptions {
  int64_t projection_dim = 8192;
  std::vector<int64_t> more_projection_dims = {};
  std::string momentum = "included";
  std::string checkpoints = "all";
  int64_t top_blocks = 0;
  int64_t max_tokens_per_pass = 2048;
  int64_t seed = 0;
  // Features of length 1, as all who compare them want them. False is for comparison only: not an option of a run.
  bool normalise = true;
};
template <typename Visitor>
void VisitOptions(FeatureOptions& o, Visitor& v) {
  v.Field("projection_dim", o.projection_dim, "length of a feature; error of cosines ~ 1/sqrt of it", Between(kMinProjectionDim, kMaxProjectionDim));
  v.Field("more_projection_dims", o.more_projection_dims, "further lengths, made in the same passes and kept in features/<length>/, for comparison; clusters and routing use projection_dim");
  v.Field("momentum", o.momentum, "whether Adam's first moment, common to all rows, enters the feature (the paper's: included)", OneOf({"included", "excluded"}));
  v.Field("checkpoints", o.checkpoints, "epochs whose gradients are averaged", OneOf({"all", "last"}));
  v.Field("top_blocks", o.top_blocks, "only the gradients of the last N blocks, which saves the backward pass of those below; 0 = all", AtLeast(0));
  v.Field("max_tokens_per_pass", o.max_tokens_per_pass, "tokens per pass; memory grows with it", AtLeast(1));
  v.Field("seed", o.seed, "of the random projection", AtLeast(0));
}

// projection_dim and then the further ones. kInvalidInput naming one that is out of range or given twice.
std::vector<int64_t> AllProjectionDims(const FeatureOptions& options);

// One epoch's adapter and moments, as train/ leaves them.
struct FeatureCheckpoint {
  Adapter adapter;
  torch::Tensor m, v;  // [num_params] f32
  int64_t steps = 0;
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;
};

// Holds what is common to all rows: checkpoints and projection. Single-thread use.
class FeatureExtractor {
 public:
  // Of length options.projection_dim; with `dims`, of all these. kInvalidInput when the model has fewer than
  // options.top_blocks blocks.
  FeatureExtractor(const Decoder& decoder, std::vector<FeatureCheckpoint> checkpoints, const FeatureOptions& options,
                   const std::vector<int64_t>& dims = {});

  int64_t projection_dim() const { return projections_[0].d_proj(); }  // the first length
  int64_t num_params() const { return layout_.num_params(); }
  // Identifies everything a feature of the i-th length depends on: checkpoints, projection and options. Equal to that of
  // an extractor of this length alone.
  const std::string& fingerprint(size_t i = 0) const { return fingerprints_[i]; }

  // Unit features of each length [rows, dim] of instructions (token ids, at least 2 each), row-major: bit for bit those of
  // an extractor of one length. `caches` [rows] of empty caches, or none: they receive each row's keys and values under the
  // last checkpoint, which is the base adapter, so that who answers need not read the row again under it.
  std::vector<std::vector<float>> ExtractAll(const std::vector<std::span<const int32_t>>& instructions,
                                             std::span<KvCache* const> caches = {});
  // Those of the first length.
  std::vector<float> Extract(const std::vector<std::span<const int32_t>>& instructions,
                             std::span<KvCache* const> caches = {});

  // Tells that many instructions to come begin with `tokens`: those that do are passed from there on, with what comes
  // before made once, here. Changes no feature but by rounding. On the CPU; elsewhere, or when it would save little, nothing
  // happens.
  void ShareBeginning(std::span<const int32_t> tokens);

  // The raw per-example gradient at the last checkpoint [rows][num_params]: oracle and diagnostics.
  std::vector<std::vector<float>> RawGradients(const std::vector<std::span<const int32_t>>& instructions);

 private:
  struct Stage {
    FeatureCheckpoint checkpoint;
    std::unique_ptr<LoraWeights> weights;
    torch::Tensor device_m, device_v;  // the checkpoint's moments where ProjectionSums serves; else undefined
    std::unique_ptr<SharedBeginning> beginning = nullptr;
  };
  const Decoder& decoder_;
  FeatureOptions options_;
  AdapterLayout layout_;
  int64_t first_layer_ = 0;  // whose gradients count
  std::vector<Stage> stages_;
  // One segment of a pass: a row under one checkpoint.
  struct Segment {
    std::span<const int32_t> tokens;
    const Stage* stage;
    KvCache* cache = nullptr;
  };
  // R a_t of all segments [rows, sum_size of all projections], summed over the checkpoints; segments come checkpoint by
  // checkpoint.
  std::vector<float> SumSegments(const std::vector<Segment>& segments, size_t rows);
  // sums[i] [sum_size of all projections] += R a_t of segment i.
  void AddPass(const std::vector<Segment>& segments, const std::vector<float*>& sums);
  // The same on a device that ProjectionSums serves.
  void AddDevicePass(const std::vector<Segment>& segments, const std::vector<float*>& sums);
  // Row `row` of the features of each length, from its sums.
  void FinishRow(const float* sum, size_t row, std::vector<std::vector<float>>& features) const;
  // Sink: GradientSink, or BatchSink where the model is not on the CPU.
  template <typename Sink>
  void Backpropagate(const std::vector<Segment>& segments, const Sink& sink);

  std::vector<RandomProjection> projections_;  // one for each length
  int64_t sum_size_ = 0;                       // of all projections
  bool pieces_aligned_ = true;  // every piece of a gradient begins at a multiple of the projection's vector
  std::vector<std::string> fingerprints_;
};

}  // namespace elrea
