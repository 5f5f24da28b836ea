// Read this file first. One packed pass over many rows (instruction_pass.h), for each checkpoint or, when they are few (a
// request), for all checkpoints side by side:
//
//   forward -> loss of the instruction tokens, mean per row -> backward, which hands out each row's gradient piece by
//   piece -> Adam form and projection of the piece, added to the sum of the row at that checkpoint
//
// and at the end f(i) = normalise(sum over checkpoints). No gradient of all parameters is ever stored. With top_blocks the
// backward pass ends at the lowest of them; coordinates below are zero in the Adam form, and R stays the same.
#include "features/features.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "features/instruction_pass.h"
#include "features/projection_adam.h"
#include "features/projection_sums.h"

namespace elrea {

using torch::Tensor;
using TokenSpans = std::vector<std::span<const int32_t>>;

namespace {

AdamForm FormOf(const FeatureCheckpoint& c, const FeatureOptions& options) {
  return {c.steps, c.beta1, c.beta2, c.epsilon, options.momentum == "included"};
}

std::string Fingerprint(const std::vector<FeatureCheckpoint>& checkpoints, const FeatureOptions& options,
                        int64_t dim, const Decoder& decoder) {
  FeatureOptions fixed = options;
  fixed.projection_dim = dim;
  fixed.max_tokens_per_pass = 1;  // changes no feature, nor do other lengths
  Json fields = OptionSet(fixed).ToJson();
  fields.erase("more_projection_dims");
  if (fixed.top_blocks == 0) fields.erase("top_blocks");  // as before there was the option
  if (!fixed.normalise) fields["normalise"] = false;
  std::string text = JsonLine(fields) + decoder.weights().fingerprint;
  for (const FeatureCheckpoint& c : checkpoints) {
    for (const Tensor& t : {c.adapter.params, c.m, c.v}) {
      text += ChecksumHex({static_cast<const char*>(t.data_ptr()), t.nbytes()});
    }
    text += fmt::format(" {} {} {} {}", c.steps, c.beta1, c.beta2, c.epsilon);
  }
  return ChecksumHex(text);
}

bool PiecesAligned(const AdapterLayout& layout) {
  for (int64_t layer = 0; layer < layout.num_layers(); ++layer) {
    for (int g = 0; g < kNumLinearGroups; ++g) {
      const AdapterLayout::Group& group = layout.group(layer, static_cast<LinearGroup>(g));
      if (group.a_offset % RandomProjection::kVector != 0) return false;
      for (const AdapterLayout::Slot& slot : group.slots) {
        if (slot.b_offset % RandomProjection::kVector != 0 || slot.out * layout.rank() % RandomProjection::kVector != 0) return false;
      }
    }
  }
  return true;
}

// Rows in runs of at most `max_tokens` tokens; [begin, end) of each.
std::vector<std::pair<size_t, size_t>> Passes(const TokenSpans& rows, int64_t max_tokens) {
  std::vector<std::pair<size_t, size_t>> passes;
  int64_t tokens = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    auto length = static_cast<int64_t>(rows[i].size());
    if (passes.empty() || tokens + length > max_tokens) {
      passes.emplace_back(i, i);
      tokens = 0;
    }
    passes.back().second = i + 1;
    tokens += length;
  }
  return passes;
}

// To length 1, or by `scale` when that is not zero.
void Scale(std::span<float> feature, size_t row, double scale) {
  double square = 0;
  for (float x : feature) square += static_cast<double>(x) * x;
  if (!std::isfinite(square) || square <= 0) {
    throw Error(ErrorKind::kInvalidInput,
                fmt::format("row {}: the gradient feature is zero or not finite; use f32 (model.dtype=f32)", row + 1));
  }
  const auto factor = static_cast<float>(scale != 0 ? scale : 1 / std::sqrt(square));
  for (float& x : feature) x *= factor;
}

int64_t FirstLayer(const ModelConfig& config, int64_t top_blocks) {
  if (top_blocks > config.layers) {
    throw Error(ErrorKind::kInvalidInput,
                fmt::format("features.top_blocks is {}, but the model has {} blocks", top_blocks, config.layers));
  }
  return top_blocks == 0 ? 0 : config.layers - top_blocks;
}

// The first coordinate of a layer.
int64_t FirstParam(const AdapterLayout& layout, int64_t layer) {
  int64_t first = layout.num_params();
  for (int g = 0; g < kNumLinearGroups; ++g) {
    const AdapterLayout::Group& group = layout.group(layer, static_cast<LinearGroup>(g));
    if (!group.slots.empty()) first = std::min(first, group.a_offset);
  }
  return first;
}

// Nothing of the moments in front of `end`, so that the Adam form is zero there.
void ForgetBefore(int64_t end, FeatureCheckpoint& c) {
  for (Tensor* moment : {&c.m, &c.v}) {
    *moment = moment->clone();
    moment->narrow(0, 0, end).zero_();
  }
}

}  // namespace

std::vector<int64_t> AllProjectionDims(const FeatureOptions& options) {
  std::vector<int64_t> dims = {options.projection_dim};
  for (int64_t dim : options.more_projection_dims) {
    const bool twice = std::find(dims.begin(), dims.end(), dim) != dims.end();
    if (twice || dim < kMinProjectionDim || dim > kMaxProjectionDim) {
      throw Error(ErrorKind::kInvalidInput,
                  fmt::format("features.more_projection_dims: {} is {}", dim,
                              twice ? "given twice, or is projection_dim"
                                    : fmt::format("not in [{}, {}]", kMinProjectionDim, kMaxProjectionDim)));
    }
    dims.push_back(dim);
  }
  return dims;
}

FeatureExtractor::FeatureExtractor(const Decoder& decoder, std::vector<FeatureCheckpoint> checkpoints,
                                   const FeatureOptions& options, const std::vector<int64_t>& dims)
    : decoder_(decoder),
      options_(options),
      layout_(decoder.config(), checkpoints.at(0).adapter.config),
      first_layer_(FirstLayer(decoder.config(), options.top_blocks)) {
  if (options.checkpoints == "last") checkpoints.erase(checkpoints.begin(), checkpoints.end() - 1);
  pieces_aligned_ = PiecesAligned(layout_);
  for (int64_t dim : dims.empty() ? std::vector{options.projection_dim} : dims) {
    fingerprints_.push_back(Fingerprint(checkpoints, options, dim, decoder));
    projections_.emplace_back(static_cast<uint64_t>(options.seed), layout_.num_params(), dim);
    sum_size_ += projections_.back().sum_size();
  }
  for (FeatureCheckpoint& c : checkpoints) {
    if (first_layer_ > 0) ForgetBefore(FirstParam(layout_, first_layer_), c);
    auto weights = std::make_unique<LoraWeights>(layout_, c.adapter, decoder.dtype(), decoder.device());
    Tensor m, v;
    if (ProjectionSums::Serves(decoder.device())) {
      m = c.m.to(decoder.device());
      v = c.v.to(decoder.device());
    }
    stages_.push_back({std::move(c), std::move(weights), m, v});
  }
}

void FeatureExtractor::ShareBeginning(std::span<const int32_t> tokens) {
  // What is kept of a shared token is a pass's memory of one token, for each checkpoint.
  const auto most = static_cast<size_t>(options_.max_tokens_per_pass / 4);
  tokens = tokens.first(std::min(tokens.size(), most));
  const bool worth = decoder_.device().is_cpu() && std::ssize(tokens) > kMinSharedTokens;
  for (Stage& stage : stages_) {
    stage.beginning = worth ? std::make_unique<SharedBeginning>(decoder_, *stage.weights, tokens, first_layer_) : nullptr;
  }
}

template <typename Sink>
void FeatureExtractor::Backpropagate(const std::vector<Segment>& segments, const Sink& sink) {
  std::vector<InstructionRow> rows;
  std::vector<const LoraWeights*> adapters;
  for (const Segment& segment : segments) {
    const SharedBeginning* beginning = segment.stage->beginning.get();
    rows.push_back({segment.tokens, beginning && beginning->Begins(segment.tokens) ? beginning : nullptr, segment.cache});
    adapters.push_back(segment.stage->weights.get());
  }
  ExampleGradients gradients(std::move(adapters), sink);
  PassInstructions(decoder_, rows, first_layer_, gradients);
}

void FeatureExtractor::AddPass(const std::vector<Segment>& segments, const std::vector<float*>& sums) {
  auto project = [&](int64_t i, int64_t begin, int64_t count, const float* grad) {
    const FeatureCheckpoint& c = segments[i].stage->checkpoint;
    std::vector<float*> parts = {sums[i]};  // of each projection
    for (const RandomProjection& projection : projections_) parts.push_back(parts.back() + projection.sum_size());
    parts.pop_back();
    ProjectAdam(FormOf(c, options_), grad, c.m.data_ptr<float>() + begin, c.v.data_ptr<float>() + begin, begin, count,
                projections_, parts);
  };
  if (pieces_aligned_ && ProjectionSums::Serves(decoder_.device())) return AddDevicePass(segments, sums);
  if (pieces_aligned_) return Backpropagate(segments, GradientSink(project));
  // Odd widths (tiny models): gather whole gradients first.
  std::vector<std::vector<float>> whole(segments.size(), std::vector<float>(layout_.num_params()));
  Backpropagate(segments, GradientSink([&](int64_t segment, int64_t begin, int64_t count, const float* grad) {
    std::copy(grad, grad + count, whole[segment].begin() + begin);
  }));
  for (size_t i = 0; i < segments.size(); ++i) {
    project(static_cast<int64_t>(i), 0, layout_.num_params(), whole[i].data());
  }
}

void FeatureExtractor::AddDevicePass(const std::vector<Segment>& segments, const std::vector<float*>& sums) {
  std::vector<DeviceAdamForm> rows;
  for (const Segment& segment : segments) {
    rows.push_back({FormOf(segment.stage->checkpoint, options_), segment.stage->device_m, segment.stage->device_v});
  }
  ProjectionSums pass(projections_, rows, decoder_.device());
  Backpropagate(segments, BatchSink([&](int64_t begin, const Tensor& gradients) { pass.Add(begin, gradients); }));
  const Tensor added = pass.Take();
  for (size_t i = 0; i < sums.size(); ++i) {
    const float* row = added.data_ptr<float>() + static_cast<int64_t>(i) * sum_size_;
    for (int64_t k = 0; k < sum_size_; ++k) sums[i][k] += row[k];
  }
}

std::vector<float> FeatureExtractor::SumSegments(const std::vector<Segment>& segments, size_t rows) {
  const auto size = static_cast<size_t>(sum_size_);
  std::vector<float> storage(segments.size() * size);
  std::vector<float*> sums;
  int64_t tokens = 0;
  for (size_t i = 0; i < segments.size(); ++i) {
    sums.push_back(&storage[i * size]);
    tokens += static_cast<int64_t>(segments[i].tokens.size());
  }
  const size_t step = tokens <= options_.max_tokens_per_pass ? segments.size() : rows;
  for (size_t begin = 0; begin < segments.size(); begin += step) {
    AddPass({segments.begin() + begin, segments.begin() + begin + step}, {sums.begin() + begin, sums.begin() + begin + step});
  }
  for (size_t i = rows * size; i < storage.size(); ++i) storage[i % (rows * size)] += storage[i];
  storage.resize(rows * size);
  return storage;
}

void FeatureExtractor::FinishRow(const float* sum, size_t row, std::vector<std::vector<float>>& features) const {
  for (size_t p = 0; p < projections_.size(); ++p) {
    const auto dim = static_cast<size_t>(projections_[p].d_proj());
    const std::span<float> feature(&features[p][row * dim], dim);
    projections_[p].Finish(sum, feature.data());
    Scale(feature, row, options_.normalise ? 0 : 1 / static_cast<double>(stages_.size()));
    sum += projections_[p].sum_size();
  }
}

std::vector<float> FeatureExtractor::Extract(const TokenSpans& instructions, std::span<KvCache* const> caches) {
  return std::move(ExtractAll(instructions, caches)[0]);
}

std::vector<std::vector<float>> FeatureExtractor::ExtractAll(const TokenSpans& instructions,
                                                             std::span<KvCache* const> caches) {
  std::vector<std::vector<float>> features;
  for (const RandomProjection& projection : projections_) {
    features.emplace_back(instructions.size() * static_cast<size_t>(projection.d_proj()));
  }
  for (auto [begin, end] : Passes(instructions, options_.max_tokens_per_pass)) {
    TokenSpans rows(instructions.begin() + static_cast<int64_t>(begin), instructions.begin() + static_cast<int64_t>(end));
    for (size_t i = 0; i < rows.size(); ++i) {
      if (rows[i].size() < 2) {
        throw Error(ErrorKind::kInvalidInput, fmt::format("row {}: an instruction needs at least 2 tokens", begin + i + 1));
      }
    }
    std::vector<Segment> segments;  // checkpoint by checkpoint
    for (const Stage& stage : stages_) {
      for (const auto& row : rows) segments.push_back({row, &stage});
    }
    for (size_t i = 0; i < rows.size() && !caches.empty(); ++i) {
      segments[segments.size() - rows.size() + i].cache = caches[begin + i];
    }
    std::vector<float> sums = SumSegments(segments, rows.size());
    for (size_t i = 0; i < rows.size(); ++i) FinishRow(&sums[i * static_cast<size_t>(sum_size_)], begin + i, features);
  }
  return features;
}

std::vector<std::vector<float>> FeatureExtractor::RawGradients(const TokenSpans& instructions) {
  std::vector<std::vector<float>> gradients(instructions.size(), std::vector<float>(layout_.num_params()));
  for (auto [begin, end] : Passes(instructions, options_.max_tokens_per_pass)) {
    TokenSpans rows(instructions.begin() + static_cast<int64_t>(begin), instructions.begin() + static_cast<int64_t>(end));
    std::vector<Segment> segments;
    for (const auto& row : rows) segments.push_back({row, &stages_.back()});
    Backpropagate(segments, GradientSink([&, first = begin](int64_t segment, int64_t at, int64_t count, const float* grad) {
      std::copy(grad, grad + count, gradients[first + segment].begin() + at);
    }));
  }
  return gradients;
}

}  // namespace elrea
