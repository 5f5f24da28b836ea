// config.json and model.safetensors of a BERT encoder. Every tensor is named once, in Slots().
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "core/error.h"
#include "core/json.h"
#include "core/safetensors.h"
#include "encoder/bert.h"

namespace elrea {
namespace {

struct Slot {
  std::string name;
  std::vector<int64_t> shape;
  torch::Tensor* tensor;
};

void AddPair(std::vector<Slot>& slots, const std::string& name, std::vector<int64_t> weight_shape,
             LinearParams& params) {
  const int64_t out = weight_shape[0];
  slots.push_back({name + ".weight", std::move(weight_shape), &params.weight});
  slots.push_back({name + ".bias", {out}, &params.bias});
}

void AddLayer(std::vector<Slot>& slots, const BertConfig& c, const std::string& name, BertLayer& layer) {
  AddPair(slots, name + "attention.self.query", {c.dim, c.dim}, layer.query);
  AddPair(slots, name + "attention.self.key", {c.dim, c.dim}, layer.key);
  AddPair(slots, name + "attention.self.value", {c.dim, c.dim}, layer.value);
  AddPair(slots, name + "attention.output.dense", {c.dim, c.dim}, layer.attention_out);
  AddPair(slots, name + "attention.output.LayerNorm", {c.dim}, layer.attention_norm);
  AddPair(slots, name + "intermediate.dense", {c.ffn, c.dim}, layer.up);
  AddPair(slots, name + "output.dense", {c.dim, c.ffn}, layer.down);
  AddPair(slots, name + "output.LayerNorm", {c.dim}, layer.ffn_norm);
}

// The slots point into `weights`, which must not move meanwhile.
std::vector<Slot> Slots(BertWeights& weights) {
  const BertConfig& c = weights.config;
  std::vector<Slot> slots = {
      {"embeddings.word_embeddings.weight", {c.vocab, c.dim}, &weights.tokens},
      {"embeddings.position_embeddings.weight", {c.positions, c.dim}, &weights.positions},
      {"embeddings.token_type_embeddings.weight", {c.segments, c.dim}, &weights.segments}};
  AddPair(slots, "embeddings.LayerNorm", {c.dim}, weights.embedding_norm);
  weights.layers.resize(static_cast<size_t>(c.layers));
  for (size_t i = 0; i < weights.layers.size(); ++i) {
    AddLayer(slots, c, fmt::format("encoder.layer.{}.", i), weights.layers[i]);
  }
  return slots;
}

torch::Dtype TorchType(const TensorView& view, const std::string& where) {
  if (view.dtype == DType::kF32) return torch::kFloat;
  if (view.dtype == DType::kF16) return torch::kHalf;
  if (view.dtype == DType::kBF16) return torch::kBFloat16;
  throw Error(ErrorKind::kInvalidInput,
              fmt::format("{} is of type {}; only F32, F16 and BF16 are supported, convert the checkpoint to "
                          "one of them",
                          where, DTypeName(view.dtype)));
}

torch::Tensor ReadTensor(const SafetensorsFile& file, const std::string& name, const Slot& slot) {
  const TensorView& view = file.Get(name);
  const std::string where = fmt::format("{}: {}", file.path().string(), name);
  if (view.shape != slot.shape) {
    throw Error(
        ErrorKind::kCorrupt,
        fmt::format("{} has the shape [{}], config.json asks for [{}]; take both files from one model", where,
                    fmt::join(view.shape, ", "), fmt::join(slot.shape, ", ")));
  }
  torch::Tensor source = torch::empty(view.shape, torch::dtype(TorchType(view, where)));
  std::memcpy(source.data_ptr(), view.bytes.data(), view.bytes.size());  // the file may not be aligned
  return source.to(torch::kFloat);
}

// 2^20 is far above any encoder's sizes, and keeps products of two within 64 bits.
int64_t Size(const Json& config, const char* key, const std::string& origin) {
  const auto value = JsonField<int64_t>(config, key, origin);
  if (value < 1 || value > (int64_t{1} << 20)) {
    throw Error(ErrorKind::kCorrupt, fmt::format("{}: {} is {}; it must be 1 to 2^20", origin, key, value));
  }
  return value;
}

}  // namespace

BertConfig BertConfig::FromFile(const std::filesystem::path& config_json) {
  const std::string origin = config_json.string();
  const Json file = ReadJsonFile(config_json);
  const auto type = JsonFieldOr<std::string>(file, "model_type", "", origin);
  if (type != "bert") {
    throw Error(
        ErrorKind::kInvalidInput,
        fmt::format("{}: model_type is \"{}\"; sentence encoders of type \"bert\" are supported, such "
                    "as `elrea model fetch minilm` gives",
                    origin, type));
  }
  BertConfig config;
  config.vocab = Size(file, "vocab_size", origin);
  config.dim = Size(file, "hidden_size", origin);
  config.layers = Size(file, "num_hidden_layers", origin);
  config.heads = Size(file, "num_attention_heads", origin);
  config.ffn = Size(file, "intermediate_size", origin);
  config.positions = Size(file, "max_position_embeddings", origin);
  config.segments = Size(file, "type_vocab_size", origin);
  config.norm_eps = JsonFieldOr<double>(file, "layer_norm_eps", config.norm_eps, origin);
  config.activation = JsonFieldOr<std::string>(file, "hidden_act", config.activation, origin);
  if (config.dim % config.heads != 0) {
    throw Error(ErrorKind::kCorrupt,
                fmt::format("{}: hidden_size {} is no multiple of num_attention_heads {}", origin, config.dim,
                            config.heads));
  }
  const auto positions = JsonFieldOr<std::string>(file, "position_embedding_type", "absolute", origin);
  if (positions != "absolute") {
    throw Error(ErrorKind::kInvalidInput,
                fmt::format("{}: position_embedding_type \"{}\" is not supported, only \"absolute\" is",
                            origin, positions));
  }
  const std::vector<std::string> known = {"gelu", "gelu_new", "relu", "silu"};
  if (std::find(known.begin(), known.end(), config.activation) == known.end()) {
    throw Error(ErrorKind::kInvalidInput,
                fmt::format("{}: hidden_act \"{}\" is not supported (gelu, gelu_new, relu and silu are)",
                            origin, config.activation));
  }
  return config;
}

BertWeights LoadBertWeights(const std::filesystem::path& directory) {
  const fs::path path = directory / "model.safetensors";
  if (!fs::exists(path)) {
    if (fs::exists(directory / "pytorch_model.bin")) {
      throw Error(ErrorKind::kInvalidInput,
                  fmt::format("{}: pytorch_model.bin is a Python pickle, which elrea does not read; write "
                              "model.safetensors with transformers' save_pretrained",
                              directory.string()));
    }
    throw Error(ErrorKind::kNotFound,
                fmt::format("{} is missing; give a sentence encoder's directory, or run "
                            "`elrea model fetch minilm` and name minilm",
                            path.string()));
  }
  BertWeights weights;
  weights.config = BertConfig::FromFile(directory / "config.json");
  const SafetensorsFile file(path);
  // Saved with a head, the names have "bert." before them.
  const std::string prefix = file.Contains("bert.embeddings.word_embeddings.weight") ? "bert." : "";
  // Checked before anything of a size that the file names is allocated.
  const fs::path last = directory / "config.json";
  const std::string last_layer =
      fmt::format("{}encoder.layer.{}.output.dense.weight", prefix, weights.config.layers - 1);
  if (!file.Contains(last_layer)) {
    throw Error(ErrorKind::kCorrupt,
                fmt::format("{} lacks {}, which {} asks for; take both files from one model", path.string(),
                            last_layer, last.string()));
  }
  for (const Slot& slot : Slots(weights)) *slot.tensor = ReadTensor(file, prefix + slot.name, slot);
  return weights;
}

}  // namespace elrea
