// A backbone ready to work with: tokenizer, chat template and decoder of one model.
#pragma once

#include <memory>
#include <string>

#include "cli/pipeline_config.h"
#include "data/chat_template.h"
#include "data/tokenizer.h"
#include "model/decoder.h"
#include "model/packed_weights.h"

namespace elrea {

// "f32" or "bf16": options.dtype, or what "auto" means on the device: bf16 on a GPU and where the processor multiplies it
// natively.
std::string ResolveDtype(const BackboneOptions& options);

// Puts all tensors and codes there; a tied head stays one with the embedding. REQUIRES: they are on another device.
void MoveWeights(ModelWeights& weights, torch::Device device);

struct Backbone {
  std::unique_ptr<Tokenizer> tokenizer;
  std::unique_ptr<ChatTemplate> chat;
  std::unique_ptr<Decoder> decoder;
};

// Errors as of the loaders; kUnavailable for a device that is not there.
Backbone LoadBackbone(const BackboneOptions& options, const std::string& chat_template);

// What model.decode_weights asks for; null: the decoder's own matrices. kInvalidInput with the reason when it is
// "packed" and that cannot be.
std::unique_ptr<PackedWeights> LoadDecodeWeights(const BackboneOptions& options, const Decoder& decoder);

}  // namespace elrea
