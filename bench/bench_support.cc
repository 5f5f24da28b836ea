#include "bench/bench_support.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <iostream>

#include "cli/program.h"
#include "core/error.h"
#include "core/files.h"
#include "core/temp_dir.h"
#include "lora/lora_trainer.h"
#include "train/batches.h"
#include "train/finetune.h"

namespace elrea::bench {

double NowSeconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

double StatusMib(const std::string& field) {
  double kib = 0;
  ForEachLine("/proc/self/status", [&](int64_t, std::string_view line) {
    if (line.starts_with(field)) kib = std::stod(std::string(line.substr(field.size() + 1)));
  });
  return kib / 1024;
}

void ResetPeakMemory() { std::ofstream("/proc/self/clear_refs") << "5"; }

Json Measurement(const std::string& name, const char* unit, double ours, const std::optional<Peer>& peer,
                 std::optional<double> limit_fraction) {
  Json json = {{"name", name}, {"unit", unit}, {"ours", ours}};
  json["peer"] = peer ? Json(peer->value) : Json();
  json["peer_name"] = peer ? Json(peer->name) : Json();
  json["ratio"] = peer ? Json(ours / peer->value) : Json();
  json["limit_fraction"] = limit_fraction ? Json(*limit_fraction) : Json();
  return json;
}

void WriteMeasurements(const std::string& path, const Json& measurements) {
  if (!path.empty()) return WriteJsonFile(path, measurements);
  for (const Json& measurement : measurements) std::cout << JsonLine(measurement) << "\n";
}

void AddModelOptions(CLI::App& app, ModelCase& c) {
  app.add_option("--json", c.json_path, "file the measurements are written to");
  app.add_option("--model", c.model, "as of elrea --model");
  app.add_option("--dtype", c.dtype, "auto, bf16 or f32");
}

std::optional<std::string> PeerPython() {
  const char* python = std::getenv("ELREA_PEER_PYTHON");
  return python == nullptr || *python == '\0' ? std::nullopt : std::optional<std::string>(python);
}

std::string PeerScript(const std::string& name) { return std::string(ELREA_SOURCE_DIR "/bench/peers/") + name; }

Json RunPeer(const std::string& python, const std::string& script, const std::string& arguments,
             const fs::path& folder) {
  const fs::path output = folder / "peer.json", log = folder / "peer.log";
  const std::string command =
      fmt::format("'{}' '{}' {} --output '{}' 2> '{}'", python, script, arguments, output.string(), log.string());
  if (std::system(command.c_str()) != 0) {
    std::string said = ReadFile(log);
    while (said.ends_with('\n')) said.pop_back();
    throw Error(ErrorKind::kUnavailable,
                fmt::format("the peer failed: {} (bench/peers/requirements.txt is what peers need)\n{}",
                            said.substr(said.rfind('\n') + 1), command));
  }
  return ReadJsonFile(output);
}

std::vector<TokenRow> LoadRows(const std::string& input, int64_t count, const Tokenizer& tokenizer,
                               const ChatTemplate& chat) {
  const TempDir folder;
  DatasetOptions options;
  options.files = {input};
  if (input.empty()) {
    options.files = {(folder / "problems.jsonl").string()};
    WriteWordProblems(options.files[0], count + count / 8 + 8, 1);  // a few may be duplicates
  }
  std::vector<TokenRow> rows = LoadDataset(options, tokenizer, chat).rows;
  if (static_cast<int64_t>(rows.size()) < count) {
    throw Error(ErrorKind::kInvalidInput,
                fmt::format("{}: {} usable rows, but {} are needed", options.files[0], rows.size(), count));
  }
  rows.resize(count);
  return rows;
}

void WriteTokenRows(const fs::path& path, const std::vector<TokenRow>& rows) {
  std::string text;
  for (const TokenRow& row : rows) {
    text += JsonLine({{"tokens", row.tokens}, {"num_prompt", row.num_prompt}}) + "\n";
  }
  WriteFileAtomically(path, text);
}

Instructions InstructionsOf(const std::vector<TokenRow>& rows) {
  Instructions instructions;
  for (const TokenRow& row : rows) instructions.emplace_back(row.tokens.data(), static_cast<size_t>(row.num_prompt));
  return instructions;
}

AdapterConfig ConfigOfRank(int64_t rank) { return {.rank = rank, .alpha = 4.0 * static_cast<double>(rank)}; }

std::vector<Json> StepMetrics(const fs::path& directory) {
  std::vector<Json> steps;
  ForEachLine(directory / "metrics.jsonl", [&](int64_t number, std::string_view text) {
    Json line = ParseJson(text, fmt::format("metrics.jsonl, line {}", number));
    if (line.contains("rows")) steps.push_back(std::move(line));
  });
  return steps;
}

double FlopPerToken(const Decoder& decoder, const AdapterConfig& config) {
  const AdapterLayout layout(decoder.config(), config);
  return 4.0 * static_cast<double>(CountParameters(decoder.weights())) + 6.0 * static_cast<double>(layout.num_params());
}

namespace {

struct Gradient {
  double loss = 0;
  torch::Tensor grad;  // [num_params] f32 on the CPU
};

Gradient LossAndGradient(const Decoder& decoder, const Adapter& adapter, const RowList& rows) {
  const AdapterLayout layout(decoder.config(), adapter.config);
  const LoraWeights weights(layout, adapter, decoder.dtype(), decoder.device());
  LoraTrainer trainer(weights);
  const int64_t num_targets = NumResponseTokens(rows);
  double sum = 0;
  for (const RowList& pass : SplitIntoPasses(rows, FinetuneOptions().max_tokens_per_pass)) {
    const LossBatch batch = ResponseBatch(pass, 1.0f / static_cast<float>(num_targets));
    ForwardTape tape;
    torch::Tensor grad_residual;
    const torch::Tensor residual = decoder.Forward(batch.packed, &trainer, &tape);
    sum += decoder.LossAndGradient(residual, batch.targets, grad_residual).sum(torch::kDouble).item<double>();
    decoder.Backward(batch.packed, tape, grad_residual, trainer);
  }
  return {sum / static_cast<double>(num_targets), trainer.grad().cpu()};
}

}  // namespace

LossAgreement CompareLosses(const Decoder& decoder, const Decoder& reference, const Adapter& adapter,
                            const std::vector<TokenRow>& rows) {
  RowList list;
  for (const TokenRow& row : rows) list.push_back(&row);
  const Gradient a = LossAndGradient(decoder, adapter, list), b = LossAndGradient(reference, adapter, list);
  return {a.loss, b.loss, std::abs(a.loss / b.loss - 1),
          at::cosine_similarity(a.grad.to(torch::kDouble), b.grad.to(torch::kDouble), 0).item<double>()};
}

double SmallestCosine(const std::vector<float>& a, const std::vector<float>& b, size_t count) {
  const size_t dim = a.size() / count;
  double smallest = 1;
  for (size_t row = 0; row < count; ++row) {
    double dot = 0;
    for (size_t i = row * dim; i < (row + 1) * dim; ++i) dot += static_cast<double>(a[i]) * b[i];
    smallest = std::min(smallest, dot);
  }
  return smallest;
}

double GemmRate(const Decoder& decoder, int64_t tokens, int repeats) {
  at::NoGradGuard no_grad;
  const LayerWeights& layer = decoder.weights().layers[0];
  std::vector<torch::Tensor> weights, inputs, outputs;
  for (const torch::Tensor& w : {torch::cat({layer.q, layer.k, layer.v}), layer.o, torch::cat({layer.gate, layer.up}),
                                 layer.down}) {
    weights.push_back(w);
    inputs.push_back(torch::randn({tokens, w.size(1)}, w.options()));
    outputs.push_back(torch::randn({tokens, w.size(0)}, w.options()));
  }
  std::vector<double> rates;
  for (int i = 0; i <= repeats; ++i) {
    double flop = 0, start = NowSeconds();
    for (int sweep = 0; sweep < 4; ++sweep) {
      for (size_t w = 0; w < weights.size(); ++w) {
        at::mm(inputs[w], weights[w].t());
        at::mm(outputs[w], weights[w]);
        flop += 4.0 * static_cast<double>(tokens * weights[w].numel());
      }
    }
    if (i > 0) rates.push_back(flop / (NowSeconds() - start));  // the first sweep warms up
  }
  return Median(rates);
}

int RunGuarded(const std::function<int()>& body) {
  KeepFreedMemory();
  try {
    return body();
  } catch (const Error& error) {
    fmt::print(stderr, "{}\n", error.what());
    return ExitCode(error.kind());
  }
}

}  // namespace elrea::bench
