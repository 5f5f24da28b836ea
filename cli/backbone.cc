#include "cli/backbone.h"

#include <ATen/Context.h>
#include <fmt/format.h>

#include <map>

#include "core/error.h"
#include "core/log.h"
#include "core/text.h"
#include "model/decode_engine.h"
#include "model/device_memory.h"
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

void CheckVocabulary(const Tokenizer& tokenizer, const ModelConfig& config, const std::string& origin) {
  if (tokenizer.vocab_size() <= config.vocab) return;
  throw Error(
      ErrorKind::kInvalidInput,
      fmt::format("{}: the tokenizer has {} tokens, the model only {}; they belong to different models",
                  origin, tokenizer.vocab_size(), config.vocab));
}

}  // namespace

std::string ResolveDtype(const BackboneOptions& options) {
  if (options.dtype != "auto") return options.dtype;
  return options.device != "cpu" || __builtin_cpu_supports("avx512bf16") ? "bf16" : "f32";
}

void MoveWeights(ModelWeights& weights, torch::Device device) {
  const bool tied = weights.head.is_same(weights.embedding) || weights.config.tied_embeddings;
  std::map<std::shared_ptr<const MatrixCodes>, std::shared_ptr<const MatrixCodes>> moved;  // slots may share codes
  for (const TensorSlot& slot : ListTensors(weights)) {
    if (slot.codes != nullptr && *slot.codes) {
      auto& codes = moved[slot.codes->codes];
      if (codes == nullptr) codes = slot.codes->codes->To(device);
      slot.codes->codes = codes;
    } else {
      *slot.tensor = slot.tensor->to(device);
    }
  }
  if (tied) weights.head = weights.embedding;
}

Backbone LoadBackbone(const BackboneOptions& options, const std::string& chat_template) {
  if (options.path.empty()) {
    throw Error(ErrorKind::kInvalidInput,
                "no model given: set model.path (or --model) to a .gguf file, a Hugging Face directory or a "
                "fetched name");
  }
  const fs::path path = ResolveModel(options.path);
  const torch::Device device = ResolveDevice(options.device);
  const std::string dtype = ResolveDtype(options);
  const WeightStorage storage = ParseWeightStorage(options.quantize);
  return WithContext("loading the model", [&] {
    Backbone backbone;
    backbone.tokenizer = Tokenizer::Load(path);
    backbone.chat = std::make_unique<ChatTemplate>(ChatTemplate::For(*backbone.tokenizer, chat_template));
    ModelWeights weights = LoadModelWeights(path, dtype == "f32" ? torch::kFloat : torch::kBFloat16, storage, options.codes);
    CheckVocabulary(*backbone.tokenizer, weights.config, path.string());
    LimitDeviceMemory(device, options.gpu_memory_utilization);
    if (!device.is_cpu()) MoveWeights(weights, device);
    backbone.decoder = std::make_unique<Decoder>(std::move(weights));
    LogInfo("model", "loaded {} family={} layers={} dtype={} quantize={} chat_template={} weights={}", path.string(),
            backbone.decoder->config().family, backbone.decoder->config().layers, dtype, options.quantize,
            backbone.chat->name(), FormatBytes(static_cast<uint64_t>(CountBytes(backbone.decoder->weights()))));
    return backbone;
  });
}

std::unique_ptr<PackedWeights> LoadDecodeWeights(const BackboneOptions& options, const Decoder& decoder) {
  const std::string& wanted = options.decode_weights;
  if (wanted == "dense" || (wanted == "auto" && decoder.dtype() != torch::kBFloat16)) return nullptr;
  const bool file_values = options.quantize == "none" || options.quantize == "keep";
  std::string why_not = file_values ? "the model's heads or ffn are not in whole blocks of 32, or it is not on the CPU"
                                    : "model.quantize=" + options.quantize + " has changed the file's weights";
  std::unique_ptr<PackedWeights> packed;
  if (file_values && DecodeEngine::Serves(decoder)) {
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
