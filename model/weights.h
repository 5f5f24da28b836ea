// The frozen tensors of a backbone, one list for loading, counting and moving. Layout is Hugging Face's:
// linear weights [out, in], rope in half-split order (GGUF Llama's interleaved q and k rows are put back).
// Norm weights are stored ready to multiply (a checkpoint's "minus one" is added back).
#pragma once

#include <torch/types.h>

#include <filesystem>
#include <string>
#include <vector>

#include "model/config.h"
#include "model/matrix_codes.h"

namespace elrea {

struct LayerWeights {
  torch::Tensor attn_norm;       // [dim] f32
  torch::Tensor q, k, v, o;      // [heads*head_dim, dim], [kv_heads*head_dim, dim] x2, [dim, heads*head_dim]
  torch::Tensor q_bias, k_bias, v_bias;  // [rows of q, k, v] f32, undefined without qkv_bias
  torch::Tensor o_bias;                  // [dim] f32, undefined without o_bias
  torch::Tensor q_norm, k_norm;  // [head_dim] f32, undefined without qk_norm
  torch::Tensor attn_post_norm;  // [dim] f32, undefined without post_norms
  torch::Tensor ffn_norm;        // [dim] f32
  torch::Tensor gate, up, down;  // [ffn, dim] x2, [dim, ffn]
  torch::Tensor gate_bias, up_bias, down_bias;  // [ffn] x2, [dim] f32, undefined without mlp_bias
  torch::Tensor ffn_post_norm;   // [dim] f32, undefined without post_norms
  // Each in place of its matrix, which is undefined then, where the weights were loaded in codes (WeightStorage).
  CodedRows coded_q, coded_k, coded_v, coded_o, coded_gate, coded_up, coded_down;
};

struct ModelWeights {
  ModelConfig config;
  torch::Tensor embedding;   // [vocab, dim]
  torch::Tensor final_norm;  // [dim] f32
  torch::Tensor head;        // [vocab, dim]; shares storage with embedding when tied
  std::vector<LayerWeights> layers;
  std::string fingerprint;  // checksum of the checkpoint's tensor bytes; adapters and runs record it
  std::string origin;       // path given by the user
};

// How the layers' matrices are held. Embedding and head are always dense, as with bitsandbytes.
enum class WeightStorage {
  kDense,
  kKeep,       // in the file's own codes where it has any: GGUF blocks, bitsandbytes
  kNf4,        // quantised while loading, in bitsandbytes' formats
  kNf4Double,  // the same, its scales quantised again
  kInt8
};
// "none", "keep", "nf4", "nf4_double", "int8"; kInvalidInput for others.
WeightStorage ParseWeightStorage(const std::string& name);

// Loads a .gguf file or a Hugging Face directory; matrices and embedding in `dtype` (kFloat or kBFloat16),
// norms and biases in f32. Quantising while loading needs the memory of the codes and of one dense matrix, and adds
// its name to the fingerprint, since the values change. kNotFound, kCorrupt (names file and tensor), kInvalidInput
// (unsupported architecture or tensor type, or quantising what is quantised by bitsandbytes already).
//
// codes: a file of calibrated codes (codes_file.h), which takes the place of the layers' matrices and joins the
// fingerprint; kInvalidInput when it was made of another checkpoint or for another storage.
ModelWeights LoadModelWeights(const std::filesystem::path& model, torch::Dtype dtype,
                              WeightStorage storage = WeightStorage::kDense, const std::filesystem::path& codes = {});

// Writes every tensor as it is in memory - norms ready to multiply, a tied head once - under its Hugging Face
// name to a safetensors file, with the configuration as metadata "elrea.config". For comparison with other
// implementations; LoadModelWeights does not read it. REQUIRES: tensors on the CPU.
void DumpWeights(const ModelWeights& weights, const std::filesystem::path& path);

// Parameters, a tied head counted once.
int64_t CountParameters(const ModelWeights& weights);
// Bytes of all tensors and codes, shared memory counted once.
int64_t CountBytes(const ModelWeights& weights);

}  // namespace elrea
