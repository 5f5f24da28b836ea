// BERT's encoder: token, position and segment embeddings, then layers of bidirectional attention and a
// two-matrix feed-forward part, each added to its input and normalised (post-norm). Devlin et al. 2019.
// What it does NOT do: the pooler, the masked-language head, relative positions.
#pragma once

#include <torch/types.h>

#include <filesystem>
#include <string>
#include <vector>

namespace elrea {

struct BertConfig {
  int64_t vocab = 0, dim = 0, layers = 0, heads = 0, ffn = 0, positions = 0, segments = 0;
  double norm_eps = 1e-12;
  std::string activation = "gelu";  // gelu (with erf), gelu_new (with tanh), relu, silu

  // kCorrupt for missing or impossible fields, kInvalidInput for an architecture other than BERT's.
  static BertConfig FromFile(const std::filesystem::path& config_json);
};

struct LinearParams {
  torch::Tensor weight, bias;  // [out, in], [out]; also a layer norm's, both [dim]
};

struct BertLayer {
  LinearParams query, key, value, attention_out, attention_norm;  // [dim, dim] but for the norm
  LinearParams up, down, ffn_norm;                                // [ffn, dim], [dim, ffn], [dim]
};

struct BertWeights {
  BertConfig config;
  torch::Tensor tokens, positions, segments;  // [vocab, dim], [positions, dim], [segments, dim] f32
  LinearParams embedding_norm;
  std::vector<BertLayer> layers;
};

// The directory's config.json and model.safetensors, as f32. kNotFound; kCorrupt naming file and tensor for
// one that is missing or misshapen; kInvalidInput for pickled weights and for types other than F32, F16,
// BF16.
BertWeights LoadBertWeights(const std::filesystem::path& directory);

// `ids` [batch, seq] i64, `mask` [batch, seq] bool, false at padding -> [batch, seq, dim] f32; what stands at
// padding is arbitrary. REQUIRES: seq <= config.positions, ids within the vocabulary.
torch::Tensor BertForward(const BertWeights& weights, const torch::Tensor& ids, const torch::Tensor& mask);

}  // namespace elrea
