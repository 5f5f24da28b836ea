// The hot paths of a model on one device, of its real weights or of random ones of a known shape:
//   products   the device's rate on one large product: what the others are held against
//   training   tokens a second of fine-tuning steps, and the share of that rate that (4 N + adapter) FLOP per token are
//   features   instruction tokens a second at one checkpoint, projection included, and how many of training's that is
//   decoding   seconds a token of one prompt under one adapter, under base and 4, base and 8, and of many prompts at once
// With --check, a few rows are also run in f32 on the CPU: losses, gradients, features. Ends with status 1 when they do not
// agree.
#include <ATen/ATen.h>
#include <fmt/format.h>
#include <torch/csrc/autograd/profiler_kineto.h>

#include <CLI/CLI.hpp>

#include "bench/bench_support.h"
#include "cli/backbone.h"
#include "cli/responder.h"
#include "core/error.h"
#include "core/rng.h"
#include "core/temp_dir.h"
#include "ensemble/generate.h"
#include "features/features.h"
#include "lora/lora_weights.h"
#include "model/device_memory.h"
#include "model/fetch.h"
#include "model/quantize.h"
#include "model/tensor_table.h"
#include "train/finetune.h"

namespace elrea::bench {
namespace {

using torch::Tensor;

constexpr double kGib = 1 << 30;

struct Case {
  std::string model = "smollm2", shape, quantize = "none", device = "cuda", json_path;
  int64_t batch_size = 64, steps = 12, rows = 512, prompts = 64, new_tokens = 64, rank = 8, tokens_per_pass = 32768;
  bool check = false, training_only = false;
  std::string trace;
};

// Published decoders, with random weights and the head tied to the embedding.
struct Shape {
  const char *architecture, *model_type, *activation;
  int64_t dim, layers, heads, kv_heads, head_dim, ffn, vocab;
};
const std::map<std::string, Shape> kShapes = {
    {"135m", {"LlamaForCausalLM", "llama", "silu", 576, 30, 9, 3, 64, 1536, 49152}},
    {"1b", {"LlamaForCausalLM", "llama", "silu", 2048, 16, 32, 8, 64, 8192, 128256}},
    {"2b", {"GemmaForCausalLM", "gemma", "gelu_pytorch_tanh", 2048, 18, 8, 1, 256, 16384, 256000}},
    {"8b", {"LlamaForCausalLM", "llama", "silu", 4096, 32, 32, 8, 128, 14336, 128256}}};

// What a slot of random weights holds: norms of one, matrices that keep the scale of their input.
Tensor RandomValues(const TensorSlot& slot, torch::Device device) {
  if (slot.is_vector()) return torch::ones(slot.shape, torch::dtype(torch::kFloat).device(device));
  return torch::randn(slot.shape, torch::dtype(torch::kFloat).device(device))
      .div_(std::sqrt(static_cast<double>(slot.shape[1])));
}

// In codes, every layer has a copy of the first one's, which alone is quantised: what passes cost is the same.
void FillWithCodes(const std::vector<TensorSlot>& slots, WeightStorage storage, torch::Device device) {
  std::map<std::string, std::shared_ptr<const MatrixCodes>> of_kind;  // by the name without the layer's number
  for (const TensorSlot& slot : slots) {
    if (slot.codes == nullptr) continue;
    auto& codes = of_kind[slot.gguf_name.substr(slot.gguf_name.find('.', 4))];  // "blk.3.attn_q.weight"
    if (codes == nullptr) codes = QuantizeFor(storage, RandomValues(slot, device).cpu(), slot.gguf_name);
    *slot.codes = {device.is_cpu() ? codes : codes->To(device), 0, codes->rows()};
  }
}

ModelWeights RandomWeights(const std::string& name, WeightStorage storage, torch::Device device) {
  const Shape& shape = kShapes.at(name);
  const Json json = {{"architectures", {shape.architecture}},
                     {"model_type", shape.model_type},
                     {"hidden_act", shape.activation},
                     {"hidden_size", shape.dim},
                     {"num_hidden_layers", shape.layers},
                     {"num_attention_heads", shape.heads},
                     {"num_key_value_heads", shape.kv_heads},
                     {"head_dim", shape.head_dim},
                     {"intermediate_size", shape.ffn},
                     {"vocab_size", shape.vocab},
                     {"max_position_embeddings", 8192},
                     {"rms_norm_eps", 1e-5},
                     {"rope_theta", 10000.0},
                     {"tie_word_embeddings", true}};
  ModelWeights weights;
  weights.config = ModelConfig::FromHuggingFace(json, name);
  weights.fingerprint = weights.origin = "random, " + name;
  torch::manual_seed(1);
  const std::vector<TensorSlot> slots = ListTensors(weights);
  if (storage != WeightStorage::kDense) FillWithCodes(slots, storage, device);
  for (const TensorSlot& slot : slots) {
    if (slot.codes != nullptr && *slot.codes) continue;
    *slot.tensor = RandomValues(slot, device).to(slot.is_vector() ? torch::kFloat : torch::kBFloat16);
  }
  weights.head = weights.embedding;
  return weights;
}

// Rows of 100 to 350 random tokens, a third to a half of them instruction.
std::vector<TokenRow> RandomRows(int64_t count, int64_t vocab) {
  Rng rng(7);
  std::vector<TokenRow> rows;
  for (int64_t i = 0; i < count; ++i) {
    std::vector<int32_t> tokens(100 + rng.Below(251));
    for (int32_t& token : tokens) token = static_cast<int32_t>(rng.Below(static_cast<uint64_t>(vocab)));
    const auto prompt = static_cast<int64_t>(tokens.size() * (33 + rng.Below(17)) / 100);
    rows.push_back({std::move(tokens), prompt});
  }
  return rows;
}

void Wait(torch::Device device) { torch::zeros({1}, torch::device(device)).add_(1).item<float>(); }

double ProductRate(torch::Device device) {
  const int64_t n = device.is_cpu() ? 2048 : 8192;
  const Tensor a = torch::randn({n, n}, torch::device(device)).to(torch::kBFloat16), b = torch::randn_like(a);
  std::vector<double> rates;
  for (int i = 0; i < 6; ++i) {
    const double begun = NowSeconds();
    for (int k = 0; k < 4; ++k) at::mm(a, b);
    Wait(device);
    if (i > 0) rates.push_back(8.0 * static_cast<double>(n) * static_cast<double>(n * n) / (NowSeconds() - begun));
  }
  return Median(rates);
}

// Writes what libtorch's profiler sees of `work` as a Chrome trace.
void Traced(const std::string& path, torch::Device device, const std::function<void()>& work) {
  namespace profiler = torch::autograd::profiler;
  using torch::profiler::impl::ActivityType;
  const torch::profiler::impl::ProfilerConfig config(torch::profiler::impl::ProfilerState::KINETO);
  std::set<ActivityType> activities = {ActivityType::CPU};
  if (device.is_cuda()) activities.insert(ActivityType::CUDA);
  profiler::prepareProfiler(config, activities);
  profiler::enableProfiler(config, activities);
  work();
  Wait(device);
  profiler::disableProfiler()->save(path);
}

struct Training {
  double tokens_per_s, tokens_per_step;
  std::optional<int64_t> peak_bytes;
  std::vector<FeatureCheckpoint> checkpoints;
};

Training Train(const Case& c, const Decoder& decoder, const std::vector<TokenRow>& rows) {
  const TempDir folder;
  Adapter start = MakeAdapter(decoder.config(), ConfigOfRank(c.rank), 1);
  FinetuneJob job{"device_bench", &decoder, std::move(start), {}, {}, folder / "adapter"};
  for (int64_t i = 0; i < c.batch_size * c.steps; ++i) job.rows.push_back(&rows[static_cast<size_t>(i % std::ssize(rows))]);
  FinetuneOptions options;
  options.epochs = 1;
  options.batch_size = c.batch_size;
  options.max_tokens_per_pass = c.tokens_per_pass;
  options.checkpoint_every_s = 1e9;
  PeakDeviceBytes(decoder.device(), /*restart=*/true);
  Finetune(job, options);
  const std::optional<int64_t> peak_bytes = PeakDeviceBytes(decoder.device());
  std::vector<double> rates, tokens;
  const std::vector<Json> steps = StepMetrics(job.directory);
  for (size_t i = 2; i < steps.size(); ++i) {  // the first steps warm up
    rates.push_back(steps[i]["tokens_per_s"]);
    tokens.push_back(steps[i]["tokens"]);
  }
  return {Median(rates), Median(tokens), peak_bytes, LoadFeatureCheckpoints(job.directory, options, decoder.config())};
}

// Instruction tokens a second.
double FeatureRate(const Case& c, const Decoder& decoder, const Training& training, const std::vector<TokenRow>& rows) {
  FeatureOptions options;
  options.max_tokens_per_pass = c.tokens_per_pass;
  FeatureExtractor extractor(decoder, training.checkpoints, options);
  const Instructions instructions = InstructionsOf(rows);
  double tokens = 0;
  for (const auto& instruction : instructions) tokens += static_cast<double>(instruction.size());
  std::vector<double> rates;
  for (int turn = 0; turn < 3; ++turn) {
    const double begun = NowSeconds();
    extractor.Extract(instructions);
    if (turn > 0) rates.push_back(tokens / (NowSeconds() - begun));
  }
  return Median(rates);
}

// Median seconds between the tokens of `prompts` prompts under base and `experts` experts, the prompts' passes left out.
double SecondsPerStep(const Case& c, const Decoder& decoder, const Tokenizer& tokenizer, const Adapter& adapter,
                      int64_t experts, int64_t prompts, const std::vector<TokenRow>& rows) {
  const AdapterLayout layout(decoder.config(), adapter.config);
  std::vector<std::unique_ptr<LoraWeights>> weights;
  for (int64_t i = 0; i <= experts; ++i) {
    weights.push_back(std::make_unique<LoraWeights>(layout, adapter, decoder.dtype(), decoder.device()));
  }
  std::vector<GenerateRequest> requests;
  for (int64_t i = 0; i < prompts; ++i) {
    const TokenRow& row = rows[static_cast<size_t>(i)];
    GenerateRequest request;
    request.prompt.assign(row.tokens.begin(), row.tokens.begin() + row.num_prompt);
    for (const auto& w : weights) request.members.push_back({w.get(), 1.0});
    request.sampling.max_new_tokens = c.new_tokens;
    requests.push_back(std::move(request));
  }
  Generator generator(decoder, tokenizer, {}, GenerateLimits::ForThroughput(decoder));
  std::vector<double> gaps;
  for (int turn = 0; turn < 2; ++turn) {
    std::vector<double> times;
    generator.Run(requests, [&](size_t request, const std::string&) {
      if (request == 0) times.push_back(NowSeconds());
      return true;
    });
    for (size_t i = 1; turn > 0 && i < times.size(); ++i) gaps.push_back(times[i] - times[i - 1]);
  }
  return Median(gaps);
}

void MeasureDecoding(const Case& c, const std::string& name, const Decoder& decoder, const Tokenizer& tokenizer,
                     const Adapter& adapter, const std::vector<TokenRow>& rows, Json& found) {
  const auto seconds = [&](int64_t experts, int64_t prompts) {
    return SecondsPerStep(c, decoder, tokenizer, adapter, experts, prompts, rows);
  };
  const double single = seconds(0, 1);
  found.push_back(Measurement(name + ": decoding, one adapter", "ms", 1e3 * single));
  for (int64_t experts : {4, 8}) {
    found.push_back(Measurement(fmt::format("{}: decoding, base + {}", name, experts), "ms", 1e3 * seconds(experts, 1),
                                Peer{"one adapter", 1e3 * single}));
  }
  found.push_back(Measurement(fmt::format("{}: decoding, {} prompts x (base + 4)", name, c.prompts), "tokens/s",
                              static_cast<double>(c.prompts) / seconds(4, c.prompts)));
}

std::unique_ptr<Decoder> CpuTwin(const ModelWeights& weights) {
  ModelWeights copy = weights;
  for (const TensorSlot& slot : ListTensors(copy)) *slot.tensor = slot.tensor->to(torch::kCPU, torch::kFloat, false, true);
  if (copy.config.tied_embeddings) copy.head = copy.embedding;
  return std::make_unique<Decoder>(std::move(copy));
}

bool Agrees(const Decoder& decoder, const Training& training, const std::vector<TokenRow>& all) {
  const std::unique_ptr<Decoder> twin = CpuTwin(decoder.weights());
  const std::vector<TokenRow> rows(all.begin(), all.begin() + 6);
  const LossAgreement to_cpu = CompareLosses(decoder, *twin, training.checkpoints.back().adapter, rows);
  FeatureExtractor device_features(decoder, training.checkpoints, {}), cpu_features(*twin, training.checkpoints, {});
  const Instructions instructions = InstructionsOf(rows);
  const double least =
      SmallestCosine(device_features.Extract(instructions), cpu_features.Extract(instructions), rows.size());
  fmt::print(stderr, "loss {:.5f}, on the CPU in f32 {:.5f} (relative difference {:.2g}); cosine of the gradients {:.5f}, least of the features {:.5f}\n",
             to_cpu.loss, to_cpu.reference_loss, to_cpu.difference, to_cpu.cosine, least);
  return to_cpu.holds() && least >= 0.999;
}

int Run(const Case& c) {
  const torch::Device device(c.device);
  const std::unique_ptr<Tokenizer> tokenizer = Tokenizer::Load(ResolveModel(c.model));
  std::unique_ptr<Decoder> decoder;
  if (c.shape.empty()) {
    BackboneOptions options;
    options.path = c.model;
    options.device = c.device;
    options.dtype = "bf16";
    options.quantize = c.quantize;
    decoder = std::move(LoadBackbone(options, "auto").decoder);
  } else {
    ModelWeights weights = RandomWeights(c.shape, ParseWeightStorage(c.quantize), device);
    // Tokens that the tokenizer does not have are never the likeliest.
    weights.embedding.slice(0, std::min(tokenizer->vocab_size(), weights.config.vocab)).zero_();
    decoder = std::make_unique<Decoder>(std::move(weights));
  }
  const std::vector<TokenRow> rows = RandomRows(std::max(c.rows, c.prompts), tokenizer->vocab_size());
  const double products = ProductRate(device);
  const Training training = Train(c, *decoder, rows);
  if (!c.trace.empty()) {
    Case few = c;
    few.steps = 4;
    Traced(c.trace + "/training.json", device, [&] { Train(few, *decoder, rows); });
    const std::vector<TokenRow> some(rows.begin(), rows.begin() + std::min<int64_t>(std::ssize(rows), 512));
    FeatureOptions options;
    options.max_tokens_per_pass = c.tokens_per_pass;
    FeatureExtractor extractor(*decoder, training.checkpoints, options);
    Traced(c.trace + "/features.json", device, [&] { extractor.Extract(InstructionsOf(some)); });
    few.new_tokens = 8;
    Traced(c.trace + "/decoding.json", device, [&] {
      SecondsPerStep(few, *decoder, *tokenizer, training.checkpoints.back().adapter, 4, c.prompts, rows);
    });
  }
  const double flop = FlopPerToken(*decoder, ConfigOfRank(c.rank));
  const std::string name = (c.shape.empty() ? c.model : c.shape) + (c.quantize == "none" ? "" : " in " + c.quantize);
  Json found = {Measurement("products of 8192 rows", "TFLOP/s", products / 1e12),
                Measurement(fmt::format("{}: fine-tuning, {:.0f} tokens a step, rank {}", name, training.tokens_per_step, c.rank),
                            "tokens/s", training.tokens_per_s, {}, training.tokens_per_s * flop / products),
                Measurement(name + ": weights", "GiB", static_cast<double>(CountBytes(decoder->weights())) / kGib)};
  if (training.peak_bytes) {
    found.push_back(Measurement(name + ": fine-tuning, peak memory", "GiB", static_cast<double>(*training.peak_bytes) / kGib));
  }
  if (!c.training_only) {
    const double features = FeatureRate(c, *decoder, training, rows);
    found.push_back(Measurement(name + ": features", "tokens/s", features, Peer{"training", training.tokens_per_s}));
    MeasureDecoding(c, name, *decoder, *tokenizer, training.checkpoints.back().adapter, rows, found);
  }
  WriteMeasurements(c.json_path, found);
  return !c.check || Agrees(*decoder, training, rows) ? 0 : 1;
}

int Main(int argc, char** argv) {
  CLI::App app("the hot paths of a model on one device");
  Case c;
  app.add_option("--json", c.json_path, "file the measurements are written to");
  app.add_option("--model", c.model, "as of elrea --model; with --shape only its tokenizer is used");
  app.add_option("--shape", c.shape, "random weights of this shape in place of the model's: Llama's 135m, 1b, 8b, Gemma's 2b")->check(CLI::IsMember(kShapes));
  CLI::Option* quantize = app.add_option("--quantize", c.quantize, "as model.quantize");
  app.add_option("--device", c.device, "cpu or cuda");
  app.add_option("--batch-size", c.batch_size, "rows per step");
  app.add_option("--steps", c.steps, "steps of fine-tuning, at least 4")->check(CLI::Range(4, 10000));
  app.add_option("--rows", c.rows, "rows there are, at least 6")->check(CLI::Range(6, 1000000));
  app.add_option("--rank", c.rank, "of the adapters");
  app.add_option("--max-tokens-per-pass", c.tokens_per_pass, "of fine-tuning and features");
  app.add_option("--prompts", c.prompts, "decoded together");
  app.add_option("--new-tokens", c.new_tokens, "decoded for each");
  app.add_option("--trace", c.trace, "folder for Chrome traces of a few steps of each path")->check(CLI::ExistingDirectory);
  app.add_flag("--training-only", c.training_only, "leave features and decoding out");
  app.add_flag("--check", c.check, "compare with the CPU in f32")->excludes(quantize);
  CLI11_PARSE(app, argc, argv);
  if (c.device == "cuda" && !at::hasCUDA()) {
    fmt::print(stderr, "left out: this libtorch has no GPU to use\n");
    return kLeftOut;
  }
  return RunGuarded([&] { return Run(c); });
}

}  // namespace
}  // namespace elrea::bench

int main(int argc, char** argv) { return elrea::bench::Main(argc, argv); }
