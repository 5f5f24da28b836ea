// Decoding, one token for each of a few rows: the whole step - all layers, the mixture over the rows of a
// request, the vocabulary product - in one parallel region over packed weights. Threads meet at light
// barriers instead of being called out for each of some 300 operations, and everything between caches is f32.
//
// The same function as Decoder::Forward and MixedLogits, up to rounding; those remain the plain twin and read
// prompts.
#pragma once

#include <memory>
#include <span>

#include "model/decoder.h"
#include "model/low_rank_adapter.h"
#include "model/packed_weights.h"

namespace elrea {

// A sequence under one adapter.
struct DecodeRow {
  int32_t token;                            // read in this step
  KvCache* cache;                           // in the decoder's dtype; its length is the token's position
  const LowRankAdapter* adapter = nullptr;  // null: the backbone alone
  int64_t request = 0;
  float weight = 1;          // of this row's logits in its request's
  int64_t own_request = -1;  // a request that this row alone makes up, with weight 1; -1: none
};

// Single-thread use; `decoder` and `packed` must outlive it.
class DecodeEngine {
 public:
  // CPU, head_dim and ffn in whole blocks.
  static bool Serves(const Decoder& decoder);

  // REQUIRES: Serves, and weights of the same model.
  DecodeEngine(const Decoder& decoder, const PackedWeights& packed);
  ~DecodeEngine();

  // Reads one token per row and advances its cache. logits [num_requests, vocab] f32: sums over the rows of a
  // request of weight * logits. Rows under one adapter should stand side by side. Rows of one request should
  // read the same text: they are computed as differences to the heaviest of them, and what is rounded grows
  // with the difference (quantized_rows.h). A request's logits depend neither on other requests nor on the
  // number of threads, bit for bit. Throws kInvalidInput when a row would pass the model's context length.
  void Step(std::span<const DecodeRow> rows, int64_t num_requests, float* logits);

 private:
  struct Workspace;
  template <typename T>
  class Worker;
  void Prepare(std::span<const DecodeRow> rows, int64_t num_requests);

  const Decoder& decoder_;
  const PackedWeights& packed_;
  std::unique_ptr<Workspace> space_;
};

}  // namespace elrea
