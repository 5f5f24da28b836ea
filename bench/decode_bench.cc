// Decoding and prompt reading with SmolLM2-135M (Q4_1), end to end through Generator, greedy:
//   decode       ms a token: no adapter (peer: llama.cpp on the same file), one adapter, base + 4, base + 8
//   (peer: PEFT) prefill      tokens/s of one long prompt (peer: llama.cpp) throughput   tokens/s of 8
//   prompts x (base + 4) in one batch; "peer" is one prompt at a time
// limit_fraction: bytes of weights that a token needs / read bandwidth of the same run / measured time.
//
// First the results: from the same f32 prompts and caches, the greedy text of word problems must equal that
// of the plain f32 passes over the dequantised weights for 95 of 100 prompts, else the program ends with
// status 1. Peers run in turns with ours where ELREA_PEER_PYTHON names an interpreter with llama-cpp-python,
// peft and transformers, PEFT where ELREA_PEER_MODEL is the model's Hugging Face directory.
#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <optional>

#include "core/error.h"
#include "core/json.h"
#include "core/temp_dir.h"
#include "data/tokenizer.h"
#include "ensemble/generate.h"
#include "lora/testing.h"
#include "model/fetch.h"
#include "model/simd.h"

namespace elrea {
namespace {

struct Case {
  std::string model = "smollm2", json_path, peers = "bench/peers";
  int64_t rounds = 3, new_tokens = 96, exact_prompts = 100, exact_tokens = 64;
};

double NowSeconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values.at(values.size() / 2);
}

std::string WordProblem(int64_t i) {
  constexpr const char* kNames[] = {"Natalia", "Weng",   "Betty", "Julie",  "James",
                                    "Mark",    "Albert", "Ken",   "Alexis", "Tina"};
  constexpr const char* kThings[] = {"clips", "books", "apples", "stickers", "letters", "flowers", "pizzas"};
  return fmt::format(
      "{} sold {} {} to her friends in April, and then she sold {} times as many in May. How many {} did {} "
      "sell "
      "altogether in April and May?\nAnswer:",
      kNames[i % 10], 12 + 7 * i, kThings[i % 7], 2 + i % 4, kThings[i % 7], kNames[i % 10]);
}

// The model in bf16 with packed weights, and adapters with random numbers of ordinary size.
class Model {
 public:
  explicit Model(const fs::path& path)
      : tokenizer_(Tokenizer::Load(path)),
        decoder_(LoadModelWeights(path, torch::kBFloat16)),
        layout_(decoder_.config(), config_) {
    std::string why_not;
    packed_ = LoadPackedWeights(path, why_not);
    if (!packed_) throw Error(ErrorKind::kUnavailable, "nothing to measure: " + why_not);
    for (uint64_t seed = 1; seed <= 9; ++seed) {
      Adapter adapter = MakeRandomAdapter(decoder_.config(), config_, seed);
      adapter.params.mul_(0.2);
      loras_.push_back(std::make_unique<LoraWeights>(layout_, adapter, torch::kBFloat16, torch::kCPU));
    }
  }
  const Tokenizer& tokenizer() const { return *tokenizer_; }
  const PackedWeights& packed() const { return *packed_; }
  Generator MakeGenerator() const { return {decoder_, *tokenizer_, {}, {}, packed_.get()}; }

  // Mixture of `num_adapters` adapters, or the backbone alone.
  GenerateRequest Request(const std::string& prompt, int64_t num_adapters, int64_t new_tokens) const {
    GenerateRequest r{tokenizer_->Encode(prompt, SpecialTokens::kAsText), {}, {}};
    if (num_adapters == 0) r.members.push_back({nullptr, 1});
    for (int64_t i = 0; i < num_adapters; ++i)
      r.members.push_back({loras_[static_cast<size_t>(i)].get(), 1.0 / (1.0 + static_cast<double>(i))});
    r.sampling.max_new_tokens = new_tokens;
    return r;
  }
  double BytesPerToken(int64_t num_adapters) const {
    return static_cast<double>(packed_->num_bytes() + 2 * num_adapters * layout_.num_params());
  }

 private:
  AdapterConfig config_{.rank = 8, .alpha = 32};
  std::unique_ptr<Tokenizer> tokenizer_;
  Decoder decoder_;
  std::unique_ptr<PackedWeights> packed_;
  AdapterLayout layout_;
  std::vector<std::unique_ptr<LoraWeights>> loras_;
};

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
    if (sum > 0)
      best = std::max(best, static_cast<double>(memory.size() * sizeof(float)) / (NowSeconds() - start));
  }
  return best;
}

// Share of requests whose texts are equal.
double EqualShare(const std::vector<Completion>& a, const std::vector<Completion>& b) {
  int64_t equal = 0;
  for (size_t i = 0; i < a.size(); ++i) equal += a[i].tokens == b[i].tokens ? 1 : 0;
  return static_cast<double>(equal) / static_cast<double>(a.size());
}

// Compares greedy texts with those of the plain f32 passes. kInternal when the engine's own, from f32 prompts
// and caches, differ for more than one prompt in twenty.
void CheckTexts(const Case& c, const fs::path& path, const Model& model) {
  const Decoder plain(LoadModelWeights(path, torch::kFloat));
  std::vector<GenerateRequest> requests;
  for (int64_t i = 0; i < c.exact_prompts; ++i)
    requests.push_back(model.Request(WordProblem(i), 0, c.exact_tokens));
  const auto twins = Generator(plain, model.tokenizer(), {}).Run(requests);
  const auto ours = Generator(plain, model.tokenizer(), {}, {}, &model.packed()).Run(requests);
  const double equal = EqualShare(ours, twins);
  fmt::print(stderr, "texts of {} prompts x {} tokens equal to the plain f32 passes': engine {:.0f}%",
             c.exact_prompts, c.exact_tokens, 100 * equal);
  fmt::print(stderr, ", after bf16 prompts {:.0f}%\n",
             100 * EqualShare(model.MakeGenerator().Run(requests), twins));
  if (equal < 0.95) throw Error(ErrorKind::kInternal, "the texts differ from the plain passes' too often");
}

Json RunPeer(const Case& c, const std::string& script, const std::string& arguments) {
  const char* python = std::getenv("ELREA_PEER_PYTHON");
  if (python == nullptr) return {};
  const TempDir folder;
  const std::string command = fmt::format("'{}' '{}/{}' --output '{}' {}", python, c.peers, script,
                                          (folder / "peer.json").string(), arguments);
  if (std::system(command.c_str()) != 0) throw Error(ErrorKind::kUnavailable, "the peer failed: " + command);
  return ReadJsonFile(folder / "peer.json");
}

// Medians over rounds, by name; what a round lacks is left out.
class Samples {
 public:
  void Add(const std::string& name, double value) { values_[name].push_back(value); }
  void AddPeer(const Json& peer) {
    for (const auto& [name, value] : peer.items()) Add(name, value.get<double>());
  }
  std::optional<double> Get(const std::string& name) const {
    const auto it = values_.find(name);
    return it == values_.end() ? std::nullopt : std::optional(Median(it->second));
  }

 private:
  std::map<std::string, std::vector<double>> values_;
};

struct Row {
  std::string name;
  const char* unit;
  double ours;
  std::optional<double> peer;
  const char* peer_name;
  std::optional<double> limit_fraction = {};
};

Json ToJson(const Row& r) {
  Json json = {{"name", r.name}, {"unit", r.unit}, {"ours", r.ours}};
  json["peer"] = r.peer ? Json(*r.peer) : Json();
  json["peer_name"] = r.peer ? Json(r.peer_name) : Json();
  json["ratio"] = r.peer ? Json(r.ours / *r.peer) : Json();
  json["limit_fraction"] = r.limit_fraction ? Json(*r.limit_fraction) : Json();
  return json;
}

void MeasureRound(const Case& c, const fs::path& path, const Model& model, Samples& samples) {
  std::string long_prompt;
  for (int64_t i = 0; i < 5; ++i) long_prompt += WordProblem(i) + " ";
  const GenerateRequest reading = model.Request(long_prompt, 0, c.new_tokens);
  const Timing bare = TimeRun(model, {reading});
  samples.Add("prefill", static_cast<double>(reading.prompt.size()) / bare.prefill_s);
  samples.Add("decode", bare.step_s * 1e3);
  samples.AddPeer(RunPeer(
      c, "llamacpp_decode.py",
      fmt::format("--model '{}' --new-tokens {} --prompt '{}'", path.string(), c.new_tokens, long_prompt)));
  for (const int64_t adapters : {1, 5, 9}) {
    const Timing t = TimeRun(model, {model.Request(WordProblem(0), adapters, c.new_tokens)});
    samples.Add(fmt::format("decode {}", adapters), t.step_s * 1e3);
  }
  if (const char* directory = std::getenv("ELREA_PEER_MODEL")) {
    samples.AddPeer(
        RunPeer(c, "peft_decode.py", fmt::format("--model '{}' --prompt '{}'", directory, WordProblem(0))));
  }
  std::vector<GenerateRequest> eight;
  for (int64_t i = 0; i < 8; ++i) eight.push_back(model.Request(WordProblem(i), 5, c.new_tokens));
  samples.Add("together", 8 / TimeRun(model, eight).step_s);
  samples.Add("one by one", 1 / TimeRun(model, {eight[0]}).step_s);
}

Json RunCase(const Case& c) {
  const fs::path path = ResolveModel(c.model);
  const Model model(path);
  if (c.exact_prompts > 0) CheckTexts(c, path, model);
  Samples samples;
  for (int64_t round = 0; round < c.rounds; ++round) MeasureRound(c, path, model, samples);
  const double bandwidth = ReadBandwidth();
  fmt::print(stderr, "read bandwidth {:.1f} GB/s, packed weights {:.1f} MB\n", bandwidth / 1e9,
             model.BytesPerToken(0) / 1e6);
  const auto limit = [&](int64_t adapters, double ms) {
    return model.BytesPerToken(adapters) / bandwidth / (ms * 1e-3);
  };
  const double bare = *samples.Get("decode");
  Json results = {ToJson({"decode, no adapter", "ms/token", bare, samples.Get("llama.cpp decode"),
                          "llama.cpp", limit(0, bare)}),
                  ToJson({"prefill, no adapter", "tokens/s", *samples.Get("prefill"),
                          samples.Get("llama.cpp prefill"), "llama.cpp"})};
  for (const auto& [adapters, name] : {std::pair(1, "one adapter"), {5, "base + 4"}, {9, "base + 8"}}) {
    const double ms = *samples.Get(fmt::format("decode {}", adapters));
    results.push_back(ToJson({fmt::format("decode, {}", name), "ms/token", ms,
                              samples.Get(fmt::format("PEFT decode {}", adapters)), "PEFT mixed batch",
                              limit(adapters, ms)}));
  }
  results.push_back(ToJson({"8 prompts x (base + 4) in one batch", "tokens/s", *samples.Get("together"),
                            samples.Get("one by one"), "one prompt at a time"}));
  return results;
}

int Main(int argc, char** argv) {
  CLI::App app("decoding against llama.cpp and PEFT");
  Case c;
  app.add_option("--json", c.json_path, "file the measurements are written to");
  app.add_option("--model", c.model, "a GGUF file or the name of a fetched model");
  app.add_option("--rounds", c.rounds, "turns of ours and the peers; medians count");
  app.add_option("--new-tokens", c.new_tokens, "decoded per run");
  app.add_option("--exact-prompts", c.exact_prompts, "prompts whose text is compared; 0 = none");
  app.add_option("--exact-tokens", c.exact_tokens, "tokens of each");
  app.add_option("--peers", c.peers, "folder of the peers' scripts");
  CLI11_PARSE(app, argc, argv);
  try {
    const Json results = RunCase(c);
    if (c.json_path.empty()) {
      for (const Json& result : results) std::cout << JsonLine(result) << "\n";
    } else {
      WriteJsonFile(c.json_path, results);
    }
  } catch (const Error& error) {
    fmt::print(stderr, "{}\n", error.what());
    return error.kind() == ErrorKind::kInternal ? 1 : ExitCode(error.kind());
  }
  return 0;
}

}  // namespace
}  // namespace elrea

int main(int argc, char** argv) { return elrea::Main(argc, argv); }
