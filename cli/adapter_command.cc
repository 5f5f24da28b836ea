// elrea adapter: adapters as files - describe, merge, fold into the model, convert. What is written is read back and
// compared with what it was made from on probe tokens (lora/probe.h); on disagreement nothing is left behind.
#include <fmt/format.h>

#include <ATen/ATen.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdio>
#include <memory>

#include "cli/checked_output.h"
#include "cli/commands.h"
#include "core/error.h"
#include "core/log.h"
#include "core/text.h"
#include "lora/adapter_file.h"
#include "lora/fold.h"
#include "lora/gguf_adapter.h"
#include "lora/merge.h"
#include "lora/probe.h"
#include "model/fetch.h"
#include "model/rewrite_checkpoint.h"

namespace elrea {
namespace {

constexpr double kRoundedShare = 0.02;     // of the largest logit, where matrices are stored in 16 bits
constexpr const char* kRecordKey = "elrea.checked";

struct AdapterFlags {
  std::string adapter, model, output, format = "gguf";
  double tolerance = 0;
  bool json = false;
};

Decoder LoadDecoder(const std::string& model) { return Decoder(LoadModelWeights(ResolveModel(model), torch::kFloat)); }

Adapter LoadFor(const std::string& path, const ModelWeights& weights) {
  Adapter adapter = LoadAdapter(path, weights.config);
  RequireBackbone(adapter, path, weights.fingerprint, weights.origin);
  return adapter;
}

double Frobenius(const Adapter& adapter, const ModelConfig& model) {
  const AdapterLayout layout(model, adapter.config);
  double squares = 0;
  for (int64_t layer = 0; layer < layout.num_layers(); ++layer) {
    for (int g = 0; g < kNumLinearGroups; ++g) {
      const auto id = static_cast<LinearGroup>(g);
      for (size_t s = 0; s < layout.group(layer, id).slots.size(); ++s) {
        // |B A|^2 = sum((B^T B) * (A A^T)), with matrices of the rank's size
        const torch::Tensor a = layout.A(adapter.params, layer, id, s), b = layout.B(adapter.params, layer, id, s);
        squares += (at::mm(b.t(), b) * at::mm(a, a.t())).sum(torch::kDouble).item<double>();
      }
    }
  }
  return std::abs(adapter.config.scale()) * std::sqrt(std::max(0.0, squares));
}

void Info(const AdapterFlags& flags) {
  const ModelWeights weights = LoadModelWeights(ResolveModel(flags.model), torch::kBFloat16);
  const Adapter adapter = LoadFor(flags.adapter, weights);
  std::vector<std::string> modules;
  for (int g = 0; g < kNumLinearGroups; ++g) {
    for (Projection p : GroupMembers(weights.config, static_cast<LinearGroup>(g))) {
      if (adapter.config.Targets(p)) modules.push_back(ProjectionName(p));
    }
  }
  const Json info = {{"rank", adapter.config.rank},
                     {"alpha", adapter.config.alpha},
                     {"scale", adapter.config.scale()},
                     {"modules", Join(modules, ", ")},
                     {"parameters", adapter.params.numel()},
                     {"update_norm", Frobenius(adapter, weights.config)},
                     {"backbone", adapter.base_fingerprint.empty() ? "not recorded" : adapter.base_fingerprint}};
  if (flags.json) {
    std::printf("%s\n", JsonLine(info).c_str());
    return;
  }
  std::vector<std::vector<std::string>> table = {{"what", "value"}};
  for (const auto& [key, value] : info.items()) {
    table.push_back({key, value.is_string() ? value.get<std::string>() : value.dump()});
  }
  std::fputs(FormatTable(table).c_str(), stdout);
}

// Compares the adapter's logits with `expected` (tolerance 0: whatever the difference is), writes it under a temporary
// name with that comparison, and reads it back.
void WriteChecked(const AdapterFlags& flags, const Decoder& decoder, const Adapter& adapter, const torch::Tensor& expected,
                  const std::string& compared, double tolerance) {
  const fs::path output = flags.output;
  const torch::Tensor logits = ProbeLogits(decoder, {adapter}, {1.0});
  const ProbeAgreement agreement = CompareProbes(expected, logits);
  if (tolerance > 0) RequireAgreement(agreement, tolerance, compared);
  const Json record = ProbeRecord(compared, agreement, tolerance, decoder);
  UnfinishedOutput written(output);
  const std::map<std::string, std::string> metadata = {{kRecordKey, JsonLine(record)}};
  if (output.extension() == ".gguf") {
    SaveGgufAdapter(written.path(), adapter, decoder.config(), metadata);
  } else {
    SaveAdapter(written.path(), adapter, decoder.config(), decoder.weights().origin, metadata);
  }
  const Adapter back = LoadAdapter(written.path(), decoder.config());
  RequireAgreement(CompareProbes(logits, ProbeLogits(decoder, {back}, {1.0})), kExactProbes,
                   "reading back " + output.string());
  written.RenameTo(output);
  ReportCheck(output, record, flags.json);
}

void Export(const AdapterFlags& flags) {
  RequireAbsent(flags.output);
  if ((flags.format == "gguf") != (fs::path(flags.output).extension() == ".gguf")) {
    throw Error(ErrorKind::kInvalidInput, fmt::format("--output {}: a GGUF file's name ends in .gguf, a PEFT folder's does not; "
                                                      "--format is {}", flags.output, flags.format));
  }
  const Decoder decoder = LoadDecoder(flags.model);
  const Adapter adapter = LoadFor(flags.adapter, decoder.weights());
  WriteChecked(flags, decoder, adapter, ProbeLogits(decoder, {adapter}, {1.0}), "the adapter before and after conversion", kExactProbes);
}

struct MergeFlags {
  AdapterFlags common;
  std::vector<std::string> adapters;
  std::vector<double> weights;
  MergeOptions options;
};

void Merge(MergeFlags flags) {
  RequireAbsent(flags.common.output);
  const Decoder decoder = LoadDecoder(flags.common.model);
  std::vector<Adapter> adapters;
  for (const std::string& path : flags.adapters) {
    adapters.push_back(WithContext("loading an adapter", [&] { return LoadFor(path, decoder.weights()); }));
  }
  if (flags.weights.empty()) flags.weights.assign(adapters.size(), 1.0 / static_cast<double>(adapters.size()));
  Adapter merged;
  {
    Progress progress("merge", decoder.config().layers, "layers");
    merged = MergeAdapters(adapters, flags.weights, decoder.config(), flags.options,
                           [&](int64_t done, int64_t) { progress.Set(done); });
  }
  // Only cat is the sum itself; how far the others are from it is what they are chosen for, and said.
  const bool is_sum = flags.options.method == "cat";
  WriteChecked(flags.common, decoder, merged, ProbeLogits(decoder, adapters, flags.weights),
               "the merged adapter (" + flags.options.method + ") and the weighted sum of the adapters' updates",
               is_sum ? kExactProbes : 0);
}

void Fold(const AdapterFlags& flags) {
  RequireAbsent(flags.output);
  const fs::path source = ResolveModel(flags.model), output = flags.output;
  const bool is_gguf = !fs::is_directory(source);
  if (is_gguf != (output.extension() == ".gguf")) {
    throw Error(ErrorKind::kInvalidInput,
                fmt::format("--output {}: the folded model has the format of {}; a GGUF file's name ends in .gguf, a "
                            "folder's does not", flags.output, source.string()));
  }
  Json record;
  ModelWeights weights = LoadModelWeights(source, torch::kFloat);
  const Adapter adapter = LoadFor(flags.adapter, weights);
  torch::Tensor expected = ProbeLogits(Decoder(weights), {adapter}, {1.0});
  const auto folded = FoldAdapter(weights, adapter, is_gguf ? CheckpointFormat::kGguf : CheckpointFormat::kHuggingFace);
  UnfinishedOutput written(output);
  RewriteCheckpoint(source, written.path(), folded, "");
  {
    const Decoder decoder(LoadModelWeights(written.path(), torch::kFloat));
    const ProbeAgreement agreement = CompareProbes(expected, ProbeLogits(decoder));
    const double allowed = flags.tolerance > 0 ? flags.tolerance : std::max(kExactProbes, kRoundedShare * agreement.largest_logit);
    RequireAgreement(agreement, allowed, "the model with the adapter and the folded model");
    record = ProbeRecord("the model with the adapter and the folded model", agreement, allowed, decoder);
  }
  if (is_gguf) {
    RewriteCheckpoint(source, written.path(), folded, JsonLine(record));
  } else {
    WriteJsonFile(written.path() / "elrea_check.json", record);
  }
  written.RenameTo(output);
  ReportCheck(output, record, flags.json);
}

void AddCommonFlags(CLI::App& command, AdapterFlags& flags) {
  command.add_option("--model", flags.model, "the backbone: a .gguf file, a Hugging Face directory or a fetched name")
      ->required()
      ->type_name("MODEL");
  command.add_flag("--json", flags.json, "one JSON object");
}

CLI::App* AddOneAdapter(CLI::App& parent, const char* name, const char* help, AdapterFlags& flags) {
  CLI::App* command = parent.add_subcommand(name, help);
  command->add_option("ADAPTER", flags.adapter, "an adapter folder, ours or PEFT's, or a GGUF LoRA file")->required();
  AddCommonFlags(*command, flags);
  return command;
}

void AddMerge(CLI::App& parent, Invocation& invocation) {
  auto flags = std::make_shared<MergeFlags>();
  CLI::App* command = parent.add_subcommand("merge", "make one adapter of several");
  command->add_option("ADAPTER", flags->adapters, "adapter folders or GGUF LoRA files")->required();
  AddCommonFlags(*command, flags->common);
  command->add_option("--output", flags->common.output, "the folder, or .gguf file, to write")->required()->type_name("PATH");
  command->add_option("--weights", flags->weights, "one for each adapter (default: their mean)")->delimiter(',');
  command->add_option("--method", flags->options.method,
                      "cat: the sum itself, ranks add up; svd: its best approximation of --rank; the others as in PEFT")
      ->check(CLI::IsMember(MergeMethods()))
      ->capture_default_str();
  command->add_option("--density", flags->options.density, "share of the numbers that ties and dare keep")->capture_default_str();
  command->add_option("--rank", flags->options.rank, "of svd and *_svd (default: the adapters' largest)");
  command->add_option("--seed", flags->options.seed, "of dare's random choice")->capture_default_str();
  command->callback([&invocation, flags] { invocation.action = [flags] { Merge(*flags); }; });
}

}  // namespace

void AddAdapterCommand(CLI::App& app, Invocation& invocation) {
  CLI::App* parent = app.add_subcommand("adapter", "describe adapters, merge them, fold one into its model, convert");
  parent->require_subcommand(1);
  auto info = std::make_shared<AdapterFlags>();
  AddOneAdapter(*parent, "info", "rank, scale, modules and size of an adapter", *info)->callback([&invocation, info] {
    invocation.action = [info] { Info(*info); };
  });
  AddMerge(*parent, invocation);
  auto fold = std::make_shared<AdapterFlags>();
  CLI::App* command = AddOneAdapter(*parent, "fold", "write the model with the adapter in its matrices, in the model's format", *fold);
  command->add_option("--output", fold->output, "the folder, or .gguf file, to write")->required()->type_name("PATH");
  command->add_option("--tolerance", fold->tolerance,
                      "largest difference of a logit on the probe tokens (default: 2% of the largest logit)");
  command->callback([&invocation, fold] { invocation.action = [fold] { Fold(*fold); }; });
  auto exported = std::make_shared<AdapterFlags>();
  command = AddOneAdapter(*parent, "export", "convert an adapter: llama.cpp's GGUF LoRA, or PEFT's folder", *exported);
  command->add_option("--output", exported->output, "the .gguf file or the folder to write")->required()->type_name("PATH");
  command->add_option("--format", exported->format, "gguf or peft")->check(CLI::IsMember({"gguf", "peft"}))->capture_default_str();
  command->callback([&invocation, exported] { invocation.action = [exported] { Export(*exported); }; });
}

}  // namespace elrea
