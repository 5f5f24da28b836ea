// Loading a checkpoint of Gemma 2B's shapes (random weights, written first) until the decoder is ready: in bf16 (5 GB)
// from one file and three shards, and from GGUF in Q8_0 (2.7 GB) with its blocks kept and dequantised to bf16; from the
// page cache and from the disk:
//   seconds  against reading the files' bytes, in turns; both ends begin with the same state of the page cache
//   memory   the largest resident memory while loading (mapped pages of the files included), against the weights' size
// Usage: load_bench [--folder DIR] [--turns N] [--layers N]; the folder needs 5 GB.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>

#include "bench/bench_support.h"
#include "core/error.h"
#include "core/gguf_builder.h"
#include "core/rng.h"
#include "core/safetensors.h"
#include "core/temp_dir.h"
#include "model/decoder.h"
#include "model/tensor_table.h"

namespace elrea::bench {
namespace {

struct Case {
  std::string json_path, folder;
  int64_t turns = 5, layers = 18;
};

Json Gemma2b(int64_t layers) {
  return {{"architectures", {"GemmaForCausalLM"}},
          {"model_type", "gemma"},
          {"vocab_size", 256000},
          {"hidden_size", 2048},
          {"num_hidden_layers", layers},
          {"num_attention_heads", 8},
          {"num_key_value_heads", 1},
          {"head_dim", 256},
          {"intermediate_size", 16384},
          {"max_position_embeddings", 8192},
          {"rms_norm_eps", 1e-6},
          {"rope_theta", 10000.0},
          {"hidden_act", "gelu_pytorch_tanh"},
          {"tie_word_embeddings", true}};
}

size_t Count(const std::vector<int64_t>& shape) {
  size_t count = 1;
  for (const int64_t size : shape) count *= static_cast<size_t>(size);
  return count;
}

// Every tensor is the beginning of the same random numbers, here and below: what they are makes no difference.
void WriteShards(const fs::path& folder, int64_t layers, int64_t num_shards) {
  fs::create_directories(folder);
  WriteJsonFile(folder / "config.json", Gemma2b(layers));
  ModelWeights weights;
  weights.config = ModelConfig::FromHuggingFace(Gemma2b(layers), "Gemma 2B");
  const std::vector<TensorSlot> slots = ListTensors(weights);
  std::vector<uint16_t> numbers(static_cast<size_t>(weights.config.vocab * weights.config.dim));
  Rng rng(1);
  for (uint16_t& number : numbers) number = static_cast<uint16_t>(0x3C00 | (rng.Bits() & 0x80FF));
  Json index;
  for (int64_t shard = 0; shard < num_shards; ++shard) {
    const std::string name = num_shards == 1
                                 ? "model.safetensors"
                                 : fmt::format("model-{:05}-of-{:05}.safetensors", shard + 1, num_shards);
    std::vector<NamedTensor> tensors;
    for (size_t i = 0; i < slots.size(); ++i) {
      if (static_cast<int64_t>(i * num_shards / slots.size()) != shard) continue;
      tensors.push_back({slots[i].hf_name, DType::kBF16, slots[i].shape,
                         std::as_bytes(std::span(numbers).first(Count(slots[i].shape)))});
      index["weight_map"][slots[i].hf_name] = name;
    }
    WriteSafetensors(folder / name, tensors, {}, /*checksum=*/false);
  }
  if (num_shards > 1) WriteJsonFile(folder / "model.safetensors.index.json", index);
}

// Matrices in Q8_0, norms in f32, as converters write them.
void WriteGguf(const fs::path& folder, int64_t layers) {
  fs::create_directories(folder);
  ModelWeights weights;
  weights.config = ModelConfig::FromHuggingFace(Gemma2b(layers), "Gemma 2B");
  const ModelConfig& c = weights.config;
  GgufBuilder builder;
  builder.SetString("general.architecture", "gemma")
      .SetInt("gemma.context_length", c.context_length)
      .SetInt("gemma.embedding_length", c.dim)
      .SetInt("gemma.block_count", c.layers)
      .SetInt("gemma.feed_forward_length", c.ffn)
      .SetInt("gemma.attention.head_count", c.heads)
      .SetInt("gemma.attention.head_count_kv", c.kv_heads)
      .SetInt("gemma.attention.key_length", c.head_dim)
      .SetFloat("gemma.attention.layer_norm_rms_epsilon", static_cast<float>(c.norm_eps));
  constexpr size_t kBlock = 32, kBlockBytes = 34;
  std::vector<uint8_t> blocks(static_cast<size_t>(c.vocab * c.dim) / kBlock * kBlockBytes);
  Rng rng(1);
  for (uint8_t& byte : blocks) byte = static_cast<uint8_t>(rng.Bits());
  for (size_t at = 1; at < blocks.size(); at += kBlockBytes) blocks[at] = 0x10;  // the scale's high byte: small, finite
  const std::vector<float> ones(static_cast<size_t>(c.dim), 1.0f);
  for (const TensorSlot& slot : ListTensors(weights)) {
    const size_t count = Count(slot.shape);
    const auto bytes = slot.is_norm ? std::as_bytes(std::span(ones).first(count))
                                    : std::as_bytes(std::span(blocks).first(count / kBlock * kBlockBytes));
    builder.AddTensorView(slot.gguf_name, slot.is_norm ? GgmlType::kF32 : GgmlType::kQ8_0, slot.shape, bytes);
  }
  builder.Write(folder / "model.gguf");
}

// Calls `visit` with an open descriptor of every file of weights.
template <typename Visit>
void ForEachFile(const fs::path& folder, Visit visit) {
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() == ".json") continue;
    const int fd = ::open(entry.path().c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) throw Error(ErrorKind::kIo, "cannot open " + entry.path().string());
    visit(fd);
    ::close(fd);
  }
}

void ForgetPages(const fs::path& folder) {
  ForEachFile(folder, [](int fd) { ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED); });
}

// Into a small buffer, which stays in the processor's cache: the least that reading can take.
double ReadSeconds(const fs::path& folder) {
  std::vector<char> buffer(size_t{1} << 20);
  const double begun = NowSeconds();
  ForEachFile(folder, [&](int fd) {
    while (::read(fd, buffer.data(), buffer.size()) > 0) {
    }
  });
  return NowSeconds() - begun;
}

struct Load {
  double seconds, peak_mib, size_mib;
};

Load LoadOnce(const fs::path& model, WeightStorage storage) {
  ResetPeakMemory();
  const double before = StatusMib("VmRSS:"), begun = NowSeconds();
  const Decoder decoder(LoadModelWeights(model, torch::kBFloat16, storage));
  const double seconds = NowSeconds() - begun;
  return {seconds, StatusMib("VmHWM:") - before,
          static_cast<double>(CountBytes(decoder.weights())) / (1 << 20)};
}

// `model`: `folder`, or the file in it.
void Measure(const Case& c, const fs::path& folder, const fs::path& model, WeightStorage storage, const std::string& name,
             Json& measurements) {
  for (const bool cold : {false, true}) {
    std::vector<double> reads, loads, peaks;
    double size = 0;
    if (!cold) ReadSeconds(folder);
    for (int64_t turn = 0; turn < c.turns; ++turn) {
      if (cold) ForgetPages(folder);
      reads.push_back(ReadSeconds(folder));
      if (cold) ForgetPages(folder);
      const Load load = LoadOnce(model, storage);
      loads.push_back(load.seconds);
      peaks.push_back(load.peak_mib);
      size = load.size_mib;
    }
    const std::string what =
        fmt::format("loading {}, {}", name, cold ? "from the disk" : "from the page cache");
    measurements.push_back(
        Measurement(what, "s", Median(loads), Peer{"read(2) of its bytes", Median(reads)}));
    measurements.push_back(Measurement(what + ", peak memory", "MiB", *std::ranges::max_element(peaks),
                                       Peer{"the weights", size}));
  }
}

int Run(const Case& c) {
  const TempDir temp;
  const fs::path root = c.folder.empty() ? temp.path() : fs::path(c.folder) / "load_bench";
  Json measurements = Json::array();
  for (const int64_t num_shards : {1, 3}) {
    const fs::path folder = root / std::to_string(num_shards);
    WriteShards(folder, c.layers, num_shards);
    Measure(c, folder, folder, WeightStorage::kDense, num_shards == 1 ? "one file" : "three shards", measurements);
    fs::remove_all(folder);
  }
  const fs::path folder = root / "gguf", file = folder / "model.gguf";
  WriteGguf(folder, c.layers);
  Measure(c, folder, file, WeightStorage::kKeep, "Q8_0 blocks, kept", measurements);
  Measure(c, folder, file, WeightStorage::kDense, "Q8_0 blocks as bf16", measurements);
  fs::remove_all(folder);
  WriteMeasurements(c.json_path, measurements);
  return 0;
}

int Main(int argc, char** argv) {
  CLI::App app("loading a checkpoint against reading its bytes");
  Case c;
  app.add_option("--json", c.json_path, "file the measurements are written to");
  app.add_option("--folder", c.folder,
                 "where the checkpoint is written (default: the system's temporary folder)");
  app.add_option("--turns", c.turns, "of each")->check(CLI::Range(1, 100));
  app.add_option("--layers", c.layers, "fewer: a smaller checkpoint")->check(CLI::Range(1, 18));
  CLI11_PARSE(app, argc, argv);
  return RunGuarded([&] { return Run(c); });
}

}  // namespace
}  // namespace elrea::bench

int main(int argc, char** argv) { return elrea::bench::Main(argc, argv); }
