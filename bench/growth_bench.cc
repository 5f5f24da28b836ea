// How time and memory of each stage grow, one axis at a time, with SmolLM2-135M and made-up tokens or rows:
//   fine-tuning  one epoch: rows, tokens a row, rank
//   features     at one checkpoint: rows, tokens a row, rank, projection size
//   clusters     BIRCH fit and labels: rows (512 wide), width (2,000 rows)
//   decoding     a token of one request: members (experts and base), tokens of context, rank
// Measurements are named "growth: STAGE, AXIS VALUE, time" and "..., memory"; memory is the peak above what
// was resident when the work began. bench/plot_growth.py draws them.
#include <ATen/ATen.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cmath>

#include "bench/bench_support.h"
#include "cli/backbone.h"
#include "cluster/birch.h"
#include "core/error.h"
#include "core/rng.h"
#include "core/temp_dir.h"
#include "ensemble/generate.h"
#include "features/features.h"
#include "lora/testing.h"
#include "model/fetch.h"
#include "train/finetune.h"

namespace elrea::bench {
namespace {

struct Case {
  std::string model = "smollm2", json_path;
  std::vector<std::string> stages = {"fine-tuning", "features", "clusters", "decoding"};
  int64_t most_rows = 100000;  // of clustering
};

class Growth {
 public:
  explicit Growth(const Case& c) : case_(c), backbone_(LoadBackbone({c.model, "auto"}, "auto")) {}

  Json Measure() {
    for (const std::string& stage : case_.stages) {
      if (stage == "fine-tuning") GrowFinetuning();
      if (stage == "features") GrowFeatures();
      if (stage == "clusters") GrowClusters();
      if (stage == "decoding") GrowDecoding();
    }
    return results_;
  }

 private:
  const Decoder& decoder() const { return *backbone_.decoder; }

  // `work` returns its own seconds.
  template <typename Work>
  void Add(const std::string& what, const char* unit, Work work) {
    ResetPeakMemory();
    const double before = StatusMib("VmRSS:"), time = work();
    const double memory = StatusMib("VmHWM:") - before;
    results_.push_back(Measurement(fmt::format("growth: {}, time", what), unit, time));
    results_.push_back(Measurement(fmt::format("growth: {}, memory", what), "MiB", memory));
    fmt::print(stderr, "{}: {:.4g} {}, {:.0f} MiB\n", what, time, unit, memory);
  }

  std::vector<TokenRow> MakeRows(int64_t rows, int64_t tokens) const {
    std::vector<TokenRow> made;
    for (int64_t i = 0; i < rows; ++i) {
      made.push_back({RandomTokens(tokens, decoder().config().vocab, static_cast<uint64_t>(i)), tokens / 2});
    }
    return made;
  }

  double FinetuneSeconds(int64_t rows, int64_t tokens, int64_t rank) const {
    const TempDir folder;
    const std::vector<TokenRow> made = MakeRows(rows, tokens);
    FinetuneJob job{"growth", &decoder(), MakeAdapter(decoder().config(), ConfigOfRank(rank), 1),
                    {},       {},         folder / "adapter"};
    for (const TokenRow& row : made) job.rows.push_back(&row);
    FinetuneOptions options;
    options.epochs = 1;
    options.batch_size = 8;
    options.checkpoint_every_s = 1e9;
    const double start = NowSeconds();
    Finetune(job, options);
    return NowSeconds() - start;
  }

  void GrowFinetuning() {
    FinetuneSeconds(8, 64, 8);  // warms up
    for (const int64_t rows : {16, 32, 64, 128}) {
      Add(fmt::format("fine-tuning, rows {}", rows), "s", [&] { return FinetuneSeconds(rows, 64, 8); });
    }
    for (const int64_t tokens : {64, 128, 256, 512, 1024}) {
      Add(fmt::format("fine-tuning, tokens a row {}", tokens), "s",
          [&] { return FinetuneSeconds(8, tokens, 8); });
    }
    for (const int64_t rank : {8, 64}) {
      Add(fmt::format("fine-tuning, rank {}", rank), "s", [&] { return FinetuneSeconds(16, 128, rank); });
    }
  }

  // A checkpoint with random moments of ordinary size.
  FeatureCheckpoint MakeCheckpoint(int64_t rank) const {
    FeatureCheckpoint c;
    c.adapter = MakeRandomAdapter(decoder().config(), ConfigOfRank(rank), 1);
    c.m = torch::randn_like(c.adapter.params) * 1e-3;
    c.v = torch::randn_like(c.adapter.params).square() * 1e-6;
    c.steps = 100;
    return c;
  }

  struct FeatureCase {
    int64_t rows = 16, tokens = 64, rank = 8, projection_dim = 8192;
  };
  double FeatureSeconds(const FeatureCase& f) const {
    FeatureOptions options;
    options.projection_dim = f.projection_dim;
    FeatureExtractor extractor(decoder(), {MakeCheckpoint(f.rank)}, options);
    const std::vector<TokenRow> made = MakeRows(f.rows, f.tokens);
    std::vector<std::span<const int32_t>> rows;
    for (const TokenRow& row : made) rows.emplace_back(row.tokens);
    const double start = NowSeconds();
    extractor.Extract(rows);
    return NowSeconds() - start;
  }

  void GrowFeatures() {
    FeatureSeconds({});  // warms up
    for (const int64_t rows : {16, 32, 64, 128}) {
      Add(fmt::format("features, rows {}", rows), "s", [&] { return FeatureSeconds({.rows = rows}); });
    }
    for (const int64_t tokens : {64, 128, 256, 512, 1024}) {
      Add(fmt::format("features, tokens a row {}", tokens), "s",
          [&] { return FeatureSeconds({.rows = 8, .tokens = tokens}); });
    }
    for (const int64_t rank : {8, 64}) {
      Add(fmt::format("features, rank {}", rank), "s", [&] { return FeatureSeconds({.rank = rank}); });
    }
    for (const int64_t dim : {512, 2048, 8192, 32768}) {
      Add(fmt::format("features, projection size {}", dim), "s",
          [&] { return FeatureSeconds({.projection_dim = dim}); });
    }
  }

  double ClusterSeconds(int64_t rows, int64_t width) const {
    constexpr uint64_t kDirections = 10;
    std::vector<float> values(static_cast<size_t>(rows * width));
    for (int64_t i = 0; i < rows; ++i) {
      Rng rng(2, static_cast<uint64_t>(i)), direction(3, rng.Below(kDirections));
      double square = 0;
      const std::span row(&values[static_cast<size_t>(i * width)], static_cast<size_t>(width));
      for (float& x : row) {
        x = static_cast<float>(rng.Normal() + 0.4 * direction.Normal());
        square += static_cast<double>(x) * x;
      }
      for (float& x : row) x = static_cast<float>(x / std::sqrt(square));
    }
    ResetPeakMemory();
    const double start = NowSeconds();
    const RowMatrix matrix{values.data(), rows, width};
    PredictBirch(FitBirch({}, matrix), matrix);
    return NowSeconds() - start;
  }

  void GrowClusters() {
    for (int64_t rows = 1000; rows <= case_.most_rows; rows *= 10) {
      Add(fmt::format("clusters, rows {}", rows), "s", [&] { return ClusterSeconds(rows, 512); });
    }
    for (const int64_t width : {512, 2048, 8192}) {
      Add(fmt::format("clusters, width {}", width), "s", [&] { return ClusterSeconds(2000, width); });
    }
  }

  struct DecodeCase {
    int64_t members = 1, context = 64, rank = 8;
  };
  // Milliseconds a token after the prompt.
  double DecodeMs(const PackedWeights& packed, const DecodeCase& d) const {
    constexpr int64_t kNewTokens = 32;
    const AdapterConfig config = ConfigOfRank(d.rank);
    const AdapterLayout layout(decoder().config(), config);
    std::vector<std::unique_ptr<LoraWeights>> loras;
    GenerateRequest request{RandomTokens(d.context, decoder().config().vocab, 5), {}, {}};
    for (int64_t i = 0; i < d.members; ++i) {
      Adapter adapter = MakeRandomAdapter(decoder().config(), config, static_cast<uint64_t>(i));
      adapter.params.mul_(0.2);
      loras.push_back(std::make_unique<LoraWeights>(layout, adapter, decoder().dtype(), torch::kCPU));
      request.members.push_back({loras.back().get(), 1.0 / static_cast<double>(1 + i)});
    }
    request.sampling.max_new_tokens = kNewTokens;
    double first = 0, last = 0;
    int64_t tokens = 0;
    Generator generator(decoder(), *backbone_.tokenizer, {}, {}, &packed);
    generator.Run(
        {request},
        [&](size_t, const std::string&) {
          last = NowSeconds();
          if (first == 0) first = last;
          return true;
        },
        [&](size_t, const Completion& c) { tokens = static_cast<int64_t>(c.tokens.size()); });
    return 1e3 * (last - first) / static_cast<double>(tokens - 1);
  }

  void GrowDecoding() {
    std::string why_not;
    const auto packed = LoadPackedWeights(ResolveModel(case_.model), why_not);
    if (!packed) throw Error(ErrorKind::kUnavailable, "nothing to measure: " + why_not);
    DecodeMs(*packed, {});  // warms up
    for (const int64_t members : {1, 2, 4, 8, 16}) {
      Add(fmt::format("decoding, members {}", members), "ms/token",
          [&] { return DecodeMs(*packed, {.members = members}); });
    }
    for (const int64_t context : {64, 256, 1024, 2048}) {
      Add(fmt::format("decoding, tokens of context {}", context), "ms/token",
          [&] { return DecodeMs(*packed, {.members = 5, .context = context}); });
    }
    for (const int64_t rank : {8, 64}) {
      Add(fmt::format("decoding, rank {}", rank), "ms/token",
          [&] { return DecodeMs(*packed, {.members = 5, .rank = rank}); });
    }
  }

  Case case_;
  Backbone backbone_;
  Json results_ = Json::array();
};

int Main(int argc, char** argv) {
  CLI::App app("how time and memory of each stage grow");
  Case c;
  app.add_option("--json", c.json_path, "file the measurements are written to");
  app.add_option("--model", c.model, "as of elrea --model; a GGUF file, for decoding");
  app.add_option("--stages", c.stages, "fine-tuning, features, clusters, decoding")
      ->check(CLI::IsMember({"fine-tuning", "features", "clusters", "decoding"}));
  app.add_option("--most-rows", c.most_rows, "of clustering, tenfold from 1,000")
      ->check(CLI::Range(1000, 10000000));
  CLI11_PARSE(app, argc, argv);
  return RunGuarded([&] {
    WriteMeasurements(c.json_path, Growth(c).Measure());
    return 0;
  });
}

}  // namespace
}  // namespace elrea::bench

int main(int argc, char** argv) { return elrea::bench::Main(argc, argv); }
