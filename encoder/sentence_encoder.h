// Vectors of sentences: a BERT encoder over WordPiece tokens, its outputs pooled to one vector a text. The
// directory is laid out as the sentence-transformers library writes it. Reimers and Gurevych 2019.
#pragma once

#include <torch/types.h>

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "data/tokenizer.h"
#include "encoder/bert.h"

namespace elrea {

// Const-shareable.
class SentenceEncoder {
 public:
  // `directory`: tokenizer.json, config.json, model.safetensors; modules.json, its pooling's config.json and
  // sentence_bert_config.json where there are such (without them: mean pooling, no normalisation, and as many
  // tokens as there are positions). kNotFound, kCorrupt, kInvalidInput (other modules or poolings).
  static SentenceEncoder Load(const std::filesystem::path& directory);

  // [texts, dim] f32, one row a text, of length 1 where the model says so. Texts over max_tokens() are cut,
  // as the library does; `num_cut` (may be null) counts them. Invalid UTF-8 is repaired. The rows do not
  // depend on which texts are asked for together, up to rounding.
  torch::Tensor Embed(std::span<const std::string> texts, int64_t* num_cut = nullptr) const;

  int64_t dim() const { return weights_.config.dim; }
  int64_t max_tokens() const { return max_tokens_; }  // with those that begin and end a text

 private:
  enum class Pooling { kMean, kFirst, kMax };
  void ReadModules(const std::filesystem::path& directory);
  void ReadPooling(const std::filesystem::path& config_json);
  std::vector<int32_t> Tokens(const std::string& text, int64_t* num_cut) const;
  torch::Tensor EmbedBatch(std::span<const std::vector<int32_t>* const> rows) const;

  std::unique_ptr<Tokenizer> tokenizer_;
  BertWeights weights_;
  int64_t max_tokens_ = 0;
  Pooling pooling_ = Pooling::kMean;
  bool normalize_ = false;
};

}  // namespace elrea
