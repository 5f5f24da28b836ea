#include "cli/backbone.h"

#include <ATen/Context.h>
#include <fmt/format.h>

#include "core/error.h"
#include "core/log.h"
#include "core/text.h"
#include "model/decode_engine.h"
#include "model/fetch.h"
#include "model/tensor_table.h"

namespace elrea {
namespace {

torch::Device ResolveDevice(const std::string& device) {
  if (device == "cuda" && !at::hasCUDA()) {
    throw Error(ErrorKind::kUnavailable,
                "model.device=cuda: this libtorch has no GPU to use; set model.device=cpu");
  }
  return torch::Device(device);
}

void MoveTo(ModelWeights& weights, torch::Device device) {
  if (device.is_cpu()) return;
  const bool tied = weights.head.is_same(weights.embedding) || weights.config.tied_embeddings;
  for (const TensorSlot& slot : ListTensors(weights)) *slot.tensor = slot.tensor->to(device);
  if (tied) weights.head = weights.embedding;
}

void CheckVocabulary(const Tokenizer& tokenizer, const ModelConfig& config, const std::string& origin) {
  if (tokenizer.vocab_size() <= config.vocab) return;
  throw Error(
      ErrorKind::kInvalidInput,
      fmt::format("{}: the tokenizer has {} tokens, the model only {}; they belong to different models",
                  origin, tokenizer.vocab_size(), config.vocab));
}

}  // namespace

std::string ResolveDtype(const std::string& dtype) {
  if (dtype != "auto") return dtype;
  return __builtin_cpu_supports("avx512bf16") ? "bf16" : "f32";
}

Backbone LoadBackbone(const BackboneOptions& options, const std::string& chat_template) {
  if (options.path.empty()) {
    throw Error(ErrorKind::kInvalidInput,
                "no model given: set model.path (or --model) to a .gguf file, a Hugging Face directory or a "
                "fetched name");
  }
  const fs::path path = ResolveModel(options.path);
  const torch::Device device = ResolveDevice(options.device);
  const std::string dtype = ResolveDtype(options.dtype);
  return WithContext("loading the model", [&] {
    Backbone backbone;
    backbone.tokenizer = Tokenizer::Load(path);
    backbone.chat = std::make_unique<ChatTemplate>(ChatTemplate::For(*backbone.tokenizer, chat_template));
    ModelWeights weights = LoadModelWeights(path, dtype == "f32" ? torch::kFloat : torch::kBFloat16);
    CheckVocabulary(*backbone.tokenizer, weights.config, path.string());
    MoveTo(weights, device);
    backbone.decoder = std::make_unique<Decoder>(std::move(weights));
    LogInfo("model", "loaded {} family={} layers={} dtype={} chat_template={}", path.string(),
            backbone.decoder->config().family, backbone.decoder->config().layers, dtype,
            backbone.chat->name());
    return backbone;
  });
}

std::unique_ptr<PackedWeights> LoadDecodeWeights(const BackboneOptions& options, const Decoder& decoder) {
  const std::string& wanted = options.decode_weights;
  if (wanted == "dense" || (wanted == "auto" && decoder.dtype() != torch::kBFloat16)) return nullptr;
  std::string why_not = "the model's heads or ffn are not in whole blocks of 32, or it is not on the CPU";
  std::unique_ptr<PackedWeights> packed;
  if (DecodeEngine::Serves(decoder)) {
    packed = WithContext("packing the weights",
                         [&] { return LoadPackedWeights(ResolveModel(options.path), why_not); });
  }
  if (packed == nullptr && wanted == "packed") {
    throw Error(ErrorKind::kInvalidInput,
                fmt::format("model.decode_weights=packed: {}; use auto or dense", why_not));
  }
  return packed;
}

}  // namespace elrea
