// Fine-tuning against PEFT on the same batches of the same rows, in turns:
//   rate      real (unpadded) tokens a second of a step: median over the steps of all turns, the first of each left out
//   memory    peak resident memory of the process
//   limit     (4 N + adapter) FLOP per token * tokens/s, as a share of the rate of the library's products on the model's
//             own shapes in the same run
// The steps are those of Finetune itself, read from its metrics.jsonl. Ends with status 1 when losses or gradients in the
// compute dtype do not agree with f32 twins. ELREA_PEER_PYTHON names an interpreter with torch, transformers and peft.
#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "bench/bench_support.h"
#include "cli/backbone.h"
#include "core/error.h"
#include "core/rng.h"
#include "core/temp_dir.h"
#include "train/finetune.h"

namespace elrea::bench {
namespace {

struct Case : ModelCase {
  std::string input;
  int64_t batch_size = 8, steps = 4, turns = 2, peer_turns = 2, max_tokens_per_pass = 2048;
  bool check = true;
};

struct Turn {
  std::vector<double> tokens_per_s;         // of each step
  std::vector<double> losses;               // of each step
  std::vector<std::vector<int64_t>> batches;
  double peak_mib = 0;
};

FinetuneOptions Options(const Case& c) {
  FinetuneOptions options;
  options.epochs = 1;
  options.batch_size = c.batch_size;
  options.max_tokens_per_pass = c.max_tokens_per_pass;
  options.checkpoint_every_s = 1e9;
  return options;
}

Turn RunOurs(const Case& c, const Decoder& decoder, const std::vector<TokenRow>& rows) {
  const TempDir folder;
  FinetuneJob job{"train_bench", &decoder, MakeAdapter(decoder.config(), {}, 1), {}, {}, folder / "adapter"};
  for (const TokenRow& row : rows) job.rows.push_back(&row);
  ResetPeakMemory();
  Finetune(job, Options(c));
  Turn turn;
  turn.peak_mib = StatusMib("VmHWM:");
  for (const Json& step : StepMetrics(job.directory)) {
    turn.tokens_per_s.push_back(step["tokens_per_s"]);
    turn.losses.push_back(step["loss"]);
    turn.batches.push_back(step["rows"]);
  }
  return turn;
}

Turn RunPeft(const std::string& python, const Decoder& decoder, const std::vector<TokenRow>& rows,
             const Turn& ours) {
  const TempDir folder;
  WriteTokenRows(folder / "rows.jsonl", rows);
  WriteJsonFile(folder / "batches.json", Json(ours.batches));
  const std::string dtype = decoder.dtype() == torch::kFloat ? "float32" : "bfloat16";
  const std::string arguments =
      fmt::format("--model '{}' --rows '{}' --batches '{}' --threads {} --dtype {}", decoder.weights().origin,
                  (folder / "rows.jsonl").string(), (folder / "batches.json").string(), at::get_num_threads(), dtype);
  const Json peer = RunPeer(python, PeerScript("peft_train.py"), arguments, folder.path());
  return {peer["tokens_per_s"], peer["losses"], {}, peer["peak_mib"]};
}

void Append(std::vector<double>& rates, const Turn& turn) {
  rates.insert(rates.end(), turn.tokens_per_s.begin() + 1, turn.tokens_per_s.end());
}

// An adapter whose update is not zero, as after some training.
Adapter TrainedAdapter(const ModelConfig& config) {
  Adapter adapter = MakeAdapter(config, {}, 2);
  Rng rng(3);
  float* p = adapter.params.data_ptr<float>();
  for (int64_t i = 0; i < adapter.params.numel(); ++i) p[i] += static_cast<float>(0.002 * rng.Normal());
  return adapter;
}

// False when the compute dtype's losses are more than 2e-3 from those in f32, relative, or the gradients point elsewhere.
bool Agrees(const Case& c, const Decoder& decoder, const std::vector<TokenRow>& rows) {
  const Backbone twin = LoadBackbone({c.model, "f32"}, "auto");
  const LossAgreement to_f32 = CompareLosses(decoder, *twin.decoder, TrainedAdapter(decoder.config()), rows);
  fmt::print(stderr, "loss {:.6f}, in f32 {:.6f}, relative difference {:.2g}; cosine of the gradients {:.5f}\n",
             to_f32.loss, to_f32.reference_loss, to_f32.difference, to_f32.cosine);
  return to_f32.holds();
}

int Run(const Case& c) {
  const Backbone backbone = LoadBackbone({c.model, c.dtype}, "auto");
  const Decoder& decoder = *backbone.decoder;
  const std::vector<TokenRow> rows = LoadRows(c.input, c.batch_size * c.steps, *backbone.tokenizer, *backbone.chat);
  const std::optional<std::string> python = PeerPython();
  std::vector<double> our_rates, peer_rates, gemm_rates;
  double our_peak = 0, peer_peak = 0;
  for (int64_t turn = 0; turn < c.turns; ++turn) {
    gemm_rates.push_back(GemmRate(decoder, c.max_tokens_per_pass));
    const Turn ours = RunOurs(c, decoder, rows);
    Append(our_rates, ours);
    our_peak = std::max(our_peak, ours.peak_mib);
    if (!python || turn >= c.peer_turns) continue;
    const Turn peer = RunPeft(*python, decoder, rows, ours);
    Append(peer_rates, peer);
    peer_peak = std::max(peer_peak, peer.peak_mib);
    fmt::print(stderr, "turn {}: losses of the first step {:.4f} and {:.4f} (peft)\n", turn + 1, ours.losses[0],
               peer.losses[0]);
  }
  const auto peer = [&](double value) { return python ? std::optional<Peer>({"PEFT", value}) : std::nullopt; };
  const double rate = Median(our_rates), gemm = Median(gemm_rates);
  const std::string size = fmt::format("batch {}, {}", c.batch_size, decoder.dtype() == torch::kFloat ? "f32" : "bf16");
  WriteMeasurements(
      c.json_path,
      {Measurement("fine-tuning, " + size, "tokens/s", rate, peer(python ? Median(peer_rates) : 0),
                   rate * FlopPerToken(decoder, {}) / gemm),
       Measurement("fine-tuning peak memory, " + size, "MiB", our_peak, peer(peer_peak)),
       Measurement(fmt::format("products of {} rows, {}", c.max_tokens_per_pass, size), "GFLOP/s", gemm / 1e9)});
  return !c.check || Agrees(c, decoder, rows) ? 0 : 1;
}

int Main(int argc, char** argv) {
  CLI::App app("fine-tuning against PEFT");
  Case c;
  AddModelOptions(app, c);
  app.add_option("--input", c.input, "JSONL rows in place of generated word problems");
  app.add_option("--batch-size", c.batch_size, "rows per step");
  app.add_option("--steps", c.steps, "steps of a turn, at least 2")->check(CLI::Range(2, 1000));
  app.add_option("--turns", c.turns, "runs of ours");
  app.add_option("--peer-turns", c.peer_turns, "of these, followed by one of the peer's");
  app.add_option("--max-tokens-per-pass", c.max_tokens_per_pass, "as of finetune.max_tokens_per_pass");
  app.add_flag("!--no-check", c.check, "leave out the comparison with f32");
  CLI11_PARSE(app, argc, argv);
  return RunGuarded([&] { return Run(c); });
}

}  // namespace
}  // namespace elrea::bench

int main(int argc, char** argv) { return elrea::bench::Main(argc, argv); }
