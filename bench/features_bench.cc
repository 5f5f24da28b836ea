// Gradient features of instructions, and routing one request:
//   features    rows a second at one checkpoint, projection included, in turns with LESS (one example at a time with
//               PEFT; without projection, and with TRAK's) on the same tokens
//   projection  its share of the time, to one length and to four in the same pass
//   routing     what a request's feature over two checkpoints adds to the base adapter's prefill of that request, as a
//               multiple of it; the pass under the last checkpoint is that prefill
// Ends with status 1 when a feature in the compute dtype and the one in f32 have a cosine under 0.999. The checkpoints
// are those of a short fine-tuning on the same rows. ELREA_PEER_PYTHON names an interpreter with torch, transformers,
// peft and, for TRAK's projection, traker.
#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "bench/bench_support.h"
#include "cli/backbone.h"
#include "cli/responder.h"
#include "core/rng.h"
#include "core/temp_dir.h"
#include "features/features.h"
#include "features/projection_adam.h"
#include "lora/lora_mix.h"
#include "model/kv_cache.h"
#include "train/finetune.h"

namespace elrea::bench {
namespace {

struct Case : ModelCase {
  std::string input;
  int64_t rows = 24, turns = 2, requests = 7, projection_dim = 8192, trak_rows = 16;
  bool check = true, trak = true;
};

FeatureOptions Options(const Case& c, const char* checkpoints) {
  FeatureOptions options;
  options.projection_dim = c.projection_dim;
  options.checkpoints = checkpoints;
  return options;
}

// Checkpoints of two epochs over the first rows.
std::vector<FeatureCheckpoint> MakeCheckpoints(const Decoder& decoder, const std::vector<TokenRow>& rows) {
  const TempDir folder;
  FinetuneJob job{"checkpoints", &decoder, MakeAdapter(decoder.config(), {}, 1), {}, {}, folder / "adapter"};
  for (size_t i = 0; i < std::min<size_t>(rows.size(), 16); ++i) job.rows.push_back(&rows[i]);
  FinetuneOptions options;
  options.batch_size = 4;
  Finetune(job, options);
  return LoadFeatureCheckpoints(job.directory, options, decoder.config());
}

template <typename Work>
double Seconds(Work work) {
  const double start = NowSeconds();
  work();
  return NowSeconds() - start;
}

// Adam form and projection alone, of as many gradients as there are rows, in parallel over rows as in a pass.
double ProjectionSeconds(const std::vector<int64_t>& dims, const FeatureCheckpoint& checkpoint, int64_t rows) {
  const int64_t num_params = checkpoint.m.numel();
  std::vector<RandomProjection> projections;
  for (int64_t dim : dims) projections.emplace_back(uint64_t{0}, num_params, dim);
  const torch::Tensor gradient = torch::randn({num_params}) * 1e-3;
  const auto count = static_cast<int64_t>(dims.size());
  std::vector<std::vector<float>> sums;
  for (int64_t i = 0; i < rows * count; ++i) sums.emplace_back(projections[i % count].sum_size());
  return Seconds([&] {
    at::parallel_for(0, rows, 1, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        std::vector<float*> parts;
        for (int64_t i = 0; i < count; ++i) parts.push_back(sums[row * count + i].data());
        ProjectAdam({checkpoint.steps}, gradient.data_ptr<float>(), checkpoint.m.data_ptr<float>(),
                    checkpoint.v.data_ptr<float>(), 0, num_params, projections, parts);
      }
    });
  });
}

struct PeerRates {
  double gradient = 0, with_trak = 0;
};

PeerRates RunLess(const Case& c, const std::string& python, const Decoder& decoder, const std::vector<TokenRow>& rows,
                  bool project) {
  const TempDir folder;
  WriteTokenRows(folder / "rows.jsonl", rows);
  const Json peer = RunPeer(
      python, PeerScript("less_features.py"),
      fmt::format("--model '{}' --rows '{}' --threads {} --dtype {} --project {} --project-rows {}", decoder.weights().origin,
                  (folder / "rows.jsonl").string(), at::get_num_threads(),
                  decoder.dtype() == torch::kFloat ? "float32" : "bfloat16", project ? c.projection_dim : 0, c.trak_rows),
      folder.path());
  const double gradient = peer["gradient_examples_per_s"];
  if (peer["projection_examples_per_s"].is_null()) return {gradient, 0};
  return {gradient, 1 / (1 / gradient + 1 / peer["projection_examples_per_s"].get<double>())};
}

Json MeasureFeatures(const Case& c, const Decoder& decoder, const std::vector<FeatureCheckpoint>& checkpoints,
                     const std::vector<TokenRow>& rows, const Instructions& instructions) {
  FeatureExtractor extractor(decoder, checkpoints, Options(c, "last"));
  extractor.ShareBeginning(CommonBeginning(instructions));
  extractor.Extract(instructions);  // warms up
  const std::optional<std::string> python = PeerPython();
  const std::vector<int64_t> several = {c.projection_dim, 1024, 2048, 4096};
  std::vector<double> rates, shares, several_shares, gradient_rates;
  double trak_rate = 0;
  for (int64_t turn = 0; turn < c.turns; ++turn) {
    const double seconds = Seconds([&] { extractor.Extract(instructions); });
    rates.push_back(static_cast<double>(instructions.size()) / seconds);
    const auto count = static_cast<int64_t>(instructions.size());
    shares.push_back(ProjectionSeconds({c.projection_dim}, checkpoints.back(), count) / seconds);
    several_shares.push_back(ProjectionSeconds(several, checkpoints.back(), count) / seconds);
    if (!python) continue;
    const PeerRates peer = RunLess(c, *python, decoder, rows, c.trak && turn == 0);
    gradient_rates.push_back(peer.gradient);
    if (turn == 0) trak_rate = peer.with_trak;
  }
  std::optional<Peer> less, trak;
  if (!gradient_rates.empty()) less = {"LESS, gradients alone", Median(gradient_rates)};
  if (trak_rate > 0) trak = {"LESS with TRAK's projection", trak_rate};
  const std::string what = fmt::format("features to {} at one checkpoint", c.projection_dim);
  return {Measurement(what, "rows/s", Median(rates), less), Measurement(what + ", projected", "rows/s", Median(rates), trak),
          Measurement("share of the projection", "of the stage", Median(shares)),
          Measurement("share of the projection, four lengths", "of the stage", Median(several_shares))};
}

// Seconds of the base adapter's pass over a prompt, keys and values kept.
double PrefillSeconds(const Decoder& decoder, const LoraWeights& base, std::span<const int32_t> prompt) {
  LoraMix mix(std::vector<const LoraWeights*>{&base});
  KvCache cache(decoder.config(), decoder.dtype(), decoder.device(), static_cast<int64_t>(prompt.size()));
  PackedBatch batch = PackRows({prompt});
  batch.caches = {&cache};
  return Seconds([&] { decoder.Logits(decoder.Forward(batch, &mix).narrow(0, batch.num_tokens() - 1, 1)); });
}

Json MeasureRouting(const Case& c, const Decoder& decoder, const std::vector<FeatureCheckpoint>& checkpoints,
                    const Instructions& instructions) {
  const AdapterLayout layout(decoder.config(), checkpoints.back().adapter.config);
  const LoraWeights base(layout, checkpoints.back().adapter, decoder.dtype(), decoder.device());
  FeatureExtractor extractor(decoder, checkpoints, Options(c, "all"));
  extractor.ShareBeginning(CommonBeginning(instructions));
  std::vector<double> routing, prefill, ratios;
  for (int64_t i = 0; i <= c.requests; ++i) {
    const std::span<const int32_t> prompt = instructions[i % instructions.size()];
    const double without = PrefillSeconds(decoder, base, prompt);
    KvCache cache(decoder.config(), decoder.dtype(), decoder.device(), static_cast<int64_t>(prompt.size()));
    KvCache* const read = &cache;
    const double with = Seconds([&] { extractor.Extract({prompt}, {&read, 1}); });
    if (i == 0) continue;  // warms up
    routing.push_back(with * 1e3);
    prefill.push_back(without * 1e3);
    ratios.push_back((with - without) / without);
  }
  return {Measurement("routing one request, 2 checkpoints, and reading its prompt", "ms", Median(routing)),
          Measurement("prefill of one request, base adapter", "ms", Median(prefill)),
          Measurement("what routing one request adds", "x prefill", Median(ratios))};
}

bool Agrees(const Case& c, const Decoder& decoder, const std::vector<FeatureCheckpoint>& checkpoints,
            const Instructions& instructions) {
  const Backbone twin = LoadBackbone({c.model, "f32"}, "auto");
  const Instructions some(instructions.begin(), instructions.begin() + std::min<int64_t>(8, c.rows));
  FeatureExtractor extractor(decoder, checkpoints, Options(c, "all"));
  extractor.ShareBeginning(CommonBeginning(instructions));
  const std::vector<float> ours = extractor.Extract(some);
  const std::vector<float> f32 = FeatureExtractor(*twin.decoder, checkpoints, Options(c, "all")).Extract(some);
  const double worst = SmallestCosine(ours, f32, some.size());
  fmt::print(stderr, "smallest cosine to the features in f32: {:.5f}\n", worst);
  return worst >= 0.999;
}

int Run(const Case& c) {
  const Backbone backbone = LoadBackbone({c.model, c.dtype}, "auto");
  const Decoder& decoder = *backbone.decoder;
  const std::vector<TokenRow> rows = LoadRows(c.input, c.rows, *backbone.tokenizer, *backbone.chat);
  const Instructions instructions = InstructionsOf(rows);
  int64_t tokens = 0;
  for (const TokenRow& row : rows) tokens += row.num_prompt;
  fmt::print(stderr, "{} instructions of {} tokens on average, of which the first {} are the same\n", c.rows, tokens / c.rows,
             CommonBeginning(instructions).size());
  const std::vector<FeatureCheckpoint> checkpoints = MakeCheckpoints(decoder, rows);
  Json measurements = MeasureFeatures(c, decoder, checkpoints, rows, instructions);
  for (const Json& m : MeasureRouting(c, decoder, checkpoints, instructions)) measurements.push_back(m);
  WriteMeasurements(c.json_path, measurements);
  return !c.check || Agrees(c, decoder, checkpoints, instructions) ? 0 : 1;
}

int Main(int argc, char** argv) {
  CLI::App app("gradient features against LESS, and routing against prefill");
  Case c;
  AddModelOptions(app, c);
  app.add_option("--input", c.input, "JSONL rows in place of generated word problems");
  app.add_option("--rows", c.rows, "instructions")->check(CLI::Range(1, 100000));
  app.add_option("--turns", c.turns, "runs of each side")->check(CLI::Range(1, 1000));
  app.add_option("--requests", c.requests, "requests routed one by one")->check(CLI::Range(1, 1000));
  app.add_option("--projection-dim", c.projection_dim, "numbers in a feature");
  app.add_option("--trak-rows", c.trak_rows, "rows TRAK projects at once; LESS gives it 16, which takes about 5 minutes for 8,192 numbers")->check(CLI::Range(1, 100000));
  app.add_flag("!--no-trak", c.trak, "leave out TRAK's projection, which takes minutes");
  app.add_flag("!--no-check", c.check, "leave out the comparison with f32");
  CLI11_PARSE(app, argc, argv);
  return RunGuarded([&] { return Run(c); });
}

}  // namespace
}  // namespace elrea::bench

int main(int argc, char** argv) { return elrea::bench::Main(argc, argv); }
