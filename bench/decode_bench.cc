// Decoding and prompt reading with SmolLM2-135M (Q4_1), end to end through Generator, greedy:
//   decode      ms a token: no adapter (peer: llama.cpp on the same file), one adapter, base + 4, base + 8
//   (peer: PEFT) prefill     tokens/s of one long prompt (peer: llama.cpp) throughput  tokens/s of 8 prompts
//   x (base + 4) in one batch; "peer" is one prompt at a time
// limit_fraction: bytes of weights that a token needs / read bandwidth of the same run / measured time.
//
// First the results, against the plain f32 passes over the dequantised weights: from the same f32 prompts and
// caches the greedy text of word problems must be equal for 95 of 100 prompts, without adapters and as base +
// 4, and the perplexity of rows with answers within 1%; else the program ends with status 1.
// ELREA_PEER_PYTHON names an interpreter with llama-cpp-python, peft, transformers and gguf: its sides run in
// turns with ours.
#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <map>

#include "bench/bench_support.h"
#include "bench/decode_exactness.h"
#include "cli/backbone.h"
#include "core/error.h"
#include "core/temp_dir.h"
#include "model/fetch.h"
#include "model/simd.h"

namespace elrea::bench {
namespace {

struct Case {
  std::string model = "smollm2", json_path, input;
  int64_t rounds = 3, new_tokens = 96, exact_prompts = 100, exact_tokens = 64, exact_rows = 32;
};

constexpr double kEqualTexts = 0.95, kPerplexityTolerance = 0.01;

// The model in bf16 with packed weights, as the program decodes.
struct Model {
  explicit Model(const Case& c)
      : path(ResolveModel(c.model)), backbone(LoadBackbone({c.model, "bf16"}, "auto")) {
    std::string why_not;
    packed = LoadPackedWeights(path, why_not);
    if (!packed) throw Error(ErrorKind::kUnavailable, "nothing to measure: " + why_not);
    cases = std::make_unique<DecodeCases>(*backbone.decoder, *backbone.tokenizer, torch::kBFloat16);
  }
  Generator MakeGenerator() const { return {*backbone.decoder, *backbone.tokenizer, {}, {}, packed.get()}; }
  double BytesPerToken(int64_t num_adapters) const {
    return static_cast<double>(packed->num_bytes() + 2 * num_adapters * cases->num_params());
  }

  fs::path path;
  Backbone backbone;
  std::unique_ptr<PackedWeights> packed;
  std::unique_ptr<DecodeCases> cases;
};

bool TextsAgree(const Case& c, const Model& model, const Decoder& plain, int64_t prompts, int64_t adapters) {
  const Exactness e = CompareTexts(plain, *model.backbone.decoder, *model.packed, *model.backbone.tokenizer,
                                   prompts, adapters, c.exact_tokens);
  fmt::print(stderr,
             "greedy texts of {} prompts x {} tokens under {} adapters equal to the plain f32 passes': "
             "{:.0f}%; after "
             "bf16 prompts with bf16 caches {:.0f}%\n",
             prompts, c.exact_tokens, adapters, 100 * e.equal_texts, 100 * e.equal_in_bf16);
  return e.equal_texts >= kEqualTexts;
}

bool PerplexitiesAgree(const Case& c, const Model& model, const Decoder& plain) {
  std::vector<std::vector<int32_t>> texts;
  for (const TokenRow& row :
       LoadRows(c.input, c.exact_rows, *model.backbone.tokenizer, *model.backbone.chat)) {
    texts.emplace_back(row.tokens.begin(), row.tokens.end());
  }
  const Perplexities p = ComparePerplexity(plain, *model.packed, texts);
  const double difference = p.packed / p.plain - 1;
  fmt::print(stderr, "perplexity of {} tokens of {} rows: plain f32 {:.4f}, packed {:.4f} ({:+.3f}%)\n",
             p.tokens, texts.size(), p.plain, p.packed, 100 * difference);
  return std::abs(difference) <= kPerplexityTolerance;
}

// For base + 4 a fifth of the prompts: each is five rows.
bool Agrees(const Case& c, const Model& model) {
  const Backbone plain = LoadBackbone({c.model, "f32"}, "auto");
  bool agrees = c.exact_rows == 0 || PerplexitiesAgree(c, model, *plain.decoder);
  if (c.exact_prompts > 0) {
    agrees = TextsAgree(c, model, *plain.decoder, c.exact_prompts, 0) && agrees;
    agrees = TextsAgree(c, model, *plain.decoder, (c.exact_prompts + 4) / 5, 5) && agrees;
  }
  return agrees;
}

struct Timing {
  double prefill_s, step_s;
};

// Time to the first token, and between tokens after it.
Timing TimeRun(const Model& model, const std::vector<GenerateRequest>& requests) {
  Generator generator = model.MakeGenerator();
  double first = 0, last = 0;
  const double start = NowSeconds();
  generator.Run(requests, [&](size_t, const std::string&) {
    last = NowSeconds();
    if (first == 0) first = last;
    return true;
  });
  return {first - start, (last - first) / static_cast<double>(requests[0].sampling.max_new_tokens - 1)};
}

// Bytes a second that all threads read together from memory larger than the caches.
double ReadBandwidth() {
  const std::vector<float> memory(size_t{1} << 26, 1.0f);
  double best = 0;
  for (int round = 0; round < 5; ++round) {
    const double start = NowSeconds();
    std::atomic<float> sum = 0;
    at::parallel_for(0, static_cast<int64_t>(memory.size() / 64), 1, [&](int64_t begin, int64_t end) {
      simd::Vec sums[4] = {};
      for (int64_t i = begin; i < end; ++i) {
        for (int k = 0; k < 4; ++k) sums[k] += simd::Load(&memory[static_cast<size_t>(64 * i + 16 * k)]);
      }
      sum = sum + simd::Sum(sums[0] + sums[1] + sums[2] + sums[3]);
    });
    if (sum > 0) {
      best = std::max(best, static_cast<double>(memory.size() * sizeof(float)) / (NowSeconds() - start));
    }
  }
  return best;
}

// Medians over rounds, by name.
class Samples {
 public:
  void Add(const std::string& name, double value) { values_[name].push_back(value); }
  void AddPeer(const Json& peer) {
    for (const auto& [name, value] : peer.items()) Add(name, value.get<double>());
  }
  double Ours(const std::string& name) const { return Median(values_.at(name)); }
  // None where no round has it.
  std::optional<Peer> Of(const std::string& peer_name, const std::string& name) const {
    if (!values_.contains(name)) return {};
    return Peer{peer_name, Median(values_.at(name))};
  }

 private:
  std::map<std::string, std::vector<double>> values_;
};

void MeasurePeers(const Case& c, const Model& model, const std::string& prompt, Samples& samples) {
  const std::optional<std::string> python = PeerPython();
  if (!python) return;
  const TempDir folder;
  samples.AddPeer(RunPeer(
      *python, PeerScript("llamacpp_decode.py"),
      fmt::format("--model '{}' --new-tokens {} --prompt '{}'", model.path.string(), c.new_tokens, prompt),
      folder.path()));
  samples.AddPeer(
      RunPeer(*python, PeerScript("peft_decode.py"),
              fmt::format("--model '{}' --prompt '{}'", model.path.string(), DecodeCases::ProblemText(0)),
              folder.path()));
}

void MeasureRound(const Case& c, const Model& model, Samples& samples) {
  std::string prompt;
  for (int64_t i = 0; i < 5; ++i) prompt += DecodeCases::ProblemText(i) + " ";
  const GenerateRequest reading = model.cases->Request(prompt, 0, c.new_tokens);
  const Timing bare = TimeRun(model, {reading});
  samples.Add("prefill", static_cast<double>(reading.prompt.size()) / bare.prefill_s);
  samples.Add("decode", bare.step_s * 1e3);
  for (const int64_t adapters : {1, 5, 9}) {
    const Timing t = TimeRun(model, {model.cases->Problem(0, adapters, c.new_tokens)});
    samples.Add(fmt::format("decode {}", adapters), t.step_s * 1e3);
  }
  std::vector<GenerateRequest> eight;
  for (int64_t i = 0; i < 8; ++i) eight.push_back(model.cases->Problem(i, 5, c.new_tokens));
  samples.Add("together", 8 / TimeRun(model, eight).step_s);
  samples.Add("one by one", 1 / TimeRun(model, {eight[0]}).step_s);
  MeasurePeers(c, model, prompt, samples);
}

Json Results(const Model& model, const Samples& samples) {
  const double bandwidth = ReadBandwidth();
  fmt::print(stderr, "read bandwidth {:.1f} GB/s, packed weights {:.1f} MB\n", bandwidth / 1e9,
             model.BytesPerToken(0) / 1e6);
  const auto limit = [&](int64_t adapters, double ms) {
    return model.BytesPerToken(adapters) / bandwidth / (ms * 1e-3);
  };
  const double bare = samples.Ours("decode"), one = samples.Ours("decode 1");
  Json results = {Measurement("decode, no adapter", "ms/token", bare,
                              samples.Of("llama.cpp", "llama.cpp decode"), limit(0, bare)),
                  Measurement("prefill, no adapter", "tokens/s", samples.Ours("prefill"),
                              samples.Of("llama.cpp", "llama.cpp prefill"))};
  for (const auto& [adapters, name] : {std::pair(1, "one adapter"), {5, "base + 4"}, {9, "base + 8"}}) {
    const double ms = samples.Ours(fmt::format("decode {}", adapters));
    results.push_back(Measurement(fmt::format("decode, {}", name), "ms/token", ms,
                                  samples.Of("PEFT mixed batch", fmt::format("PEFT decode {}", adapters)),
                                  limit(adapters, ms)));
    if (adapters > 1) {
      results.push_back(
          Measurement(fmt::format("decode, {}", name), "ms/token", ms, Peer{"ours, one adapter", one}));
    }
  }
  results.push_back(Measurement("8 prompts x (base + 4) in one batch", "tokens/s", samples.Ours("together"),
                                samples.Of("ours, one prompt at a time", "one by one")));
  return results;
}

int Run(const Case& c) {
  const Model model(c);
  const bool agrees = Agrees(c, model);
  Samples samples;
  for (int64_t round = 0; round < c.rounds; ++round) MeasureRound(c, model, samples);
  WriteMeasurements(c.json_path, Results(model, samples));
  if (!agrees) fmt::print(stderr, "the results differ from the plain passes' by more than is allowed\n");
  return agrees ? 0 : 1;
}

int Main(int argc, char** argv) {
  CLI::App app("decoding against llama.cpp and PEFT");
  Case c;
  app.add_option("--json", c.json_path, "file the measurements are written to");
  app.add_option("--model", c.model, "a GGUF file or the name of a fetched model");
  app.add_option("--rounds", c.rounds, "turns of ours and the peers; medians count")
      ->check(CLI::Range(1, 1000));
  app.add_option("--new-tokens", c.new_tokens, "decoded per run")->check(CLI::Range(2, 100000));
  app.add_option("--exact-prompts", c.exact_prompts, "prompts whose text is compared; 0 = none");
  app.add_option("--exact-tokens", c.exact_tokens, "tokens of each");
  app.add_option("--exact-rows", c.exact_rows, "rows whose perplexity is compared; 0 = none");
  app.add_option("--input", c.input, "JSONL rows for the perplexity in place of generated word problems");
  CLI11_PARSE(app, argc, argv);
  return RunGuarded([&] { return Run(c); });
}

}  // namespace
}  // namespace elrea::bench

int main(int argc, char** argv) { return elrea::bench::Main(argc, argv); }
