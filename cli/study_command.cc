// elrea study: all methods of the study on one set of rows, with statistics.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "cli/backbone.h"
#include "cli/calibration.h"
#include "cli/commands.h"
#include "cli/study_config.h"
#include "core/error.h"
#include "core/log.h"
#include "core/text.h"
#include "data/token_contract.h"
#include "study/study.h"

namespace elrea {
namespace {

struct StudyFlags {
  std::string config, output;
  std::vector<std::string> overrides;
  bool list = false, json = false, print_config = false;
};

void ListMethods(bool json) {
  std::vector<std::vector<std::string>> table = {{"method", "origin", "what"}};
  for (const StudyMethod& m : StudyMethods()) {
    if (json)
      std::printf("%s\n", JsonLine({{"name", m.name}, {"origin", m.origin}, {"help", m.help}}).c_str());
    table.push_back({m.name, m.origin, m.help});
  }
  if (!json) std::fputs(FormatTable(table).c_str(), stdout);
}

// The rows of a split, kept in the study's folder.
struct KeptRows {
  Dataset rows;
  Json manifest;  // {"checksum", "made_of", "ledger", "ledger_table"}
};

// What the rows depend on.
Json MadeOf(const DatasetOptions& options, const Backbone& backbone) {
  DatasetOptions copy = options;
  Json made_of = OptionSet(copy).ToJson();
  made_of["contract"] = TokenContract::Of(*backbone.tokenizer, *backbone.chat).ToJson();
  for (const std::string& file : options.files) made_of["checksums"].push_back(FileChecksumHex(file));
  return made_of;
}

// Written the first time; after that, and unless a file of data or an option has changed, opened.
KeptRows LoadRows(const PipelineConfig& config, const std::vector<std::string>& files, const Backbone& backbone,
                  const DatasetPlace& place) {
  DatasetOptions options = config.data.train;
  options.files = files;
  const Json made_of = MadeOf(options, backbone);
  const fs::path path = place.folder / (place.name + ".json");
  Json manifest = fs::exists(path) ? ReadVersionedJson(path) : Json::object();
  if (manifest.value("made_of", Json()) != made_of || !fs::exists(place.rows()) ||
      FileChecksumHex(place.rows()) != JsonField<std::string>(manifest, "checksum", path.string())) {
    fs::remove(path);
    const WrittenDataset written = WriteDataset(options, *backbone.tokenizer, *backbone.chat, place);
    manifest = {{"format_version", 1},
                {"checksum", written.checksum},
                {"made_of", made_of},
                {"ledger", written.ledger.ToJson()},
                {"ledger_table", written.ledger.ToTable()}};
    WriteJsonFile(path, manifest);
  }
  LogInfo("data", "{} rows:\n{}", place.name, JsonField<std::string>(manifest, "ledger_table", path.string()));
  return {OpenDataset(place, JsonField<std::string>(manifest, "checksum", path.string()), options.max_tokens,
                      *backbone.tokenizer, *backbone.chat),
          std::move(manifest)};
}

StudyJob MakeJob(StudyConfig& config, const Backbone& backbone, const PackedWeights* packed, const fs::path& directory) {
  const PipelineConfig& p = config.pipeline;
  StudyJob job{backbone.decoder.get(), backbone.tokenizer.get(), backbone.chat.get(), packed};
  job.directory = directory;
  KeptRows train = LoadRows(p, p.data.train.files, backbone, {directory / "data", "train"});
  job.train = std::move(train.rows);
  job.ledger = train.manifest["ledger"];
  job.ledger_table = train.manifest["ledger_table"];
  if (!p.data.validation_files.empty())
    job.validation = LoadRows(p, p.data.validation_files, backbone, {directory / "data", "validation"}).rows;
  job.test = LoadEvalRows(p.data.test_files, p.eval, *backbone.chat);
  SetPipelineOptions(p, job);
  job.study = config.study;
  job.config = OptionSet(config).ToJson();
  return job;
}

void Study(const StudyFlags& flags) {
  if (flags.list) return ListMethods(flags.json);
  StudyConfig config = LoadStudyConfig(flags.config, flags.overrides);
  if (flags.print_config) {
    std::fputs(OptionSet(config).ToYaml().c_str(), stdout);
    return;
  }
  if (flags.output.empty()) throw Error(ErrorKind::kInvalidInput, "give a folder for the study: --out DIR");
  const DirectoryLock lock(flags.output);
  const DatasetOptions& rows = config.pipeline.data.train;
  const Backbone backbone = LoadBackbone(
      WithCalibratedCodes(config.pipeline.model, rows, fs::path(flags.output) / "backbone.safetensors"), rows.chat_template);
  const auto packed = LoadDecodeWeights(config.pipeline.model, *backbone.decoder);
  const StudyJob job = MakeJob(config, backbone, packed.get(), flags.output);
  WriteFileAtomically(job.directory / "config.yaml", OptionSet(config).ToYaml());
  const StudyResult result = RunStudy(job);
  if (flags.json) {
    for (const MethodSummary& s : result.summaries) std::printf("%s\n", JsonLine(SummaryJson(s)).c_str());
  } else {
    std::fputs(SummaryText(result.summaries).c_str(), stdout);
  }
  LogInfo("study", "results: {}", (job.directory / "results.json").string());
}

}  // namespace

void SetPipelineOptions(const PipelineConfig& config, StudyJob& job) {
  job.lora = config.lora;
  job.base = config.finetune;
  job.expert = ExpertFinetuneOptions(config);
  job.experts_take_equal_steps = config.experts.equal_steps;
  job.features = config.features;
  job.cluster = config.cluster;
  job.routing = config.routing;
  job.generation = config.generation;
  job.eval = config.eval;
}

StudyConfig LoadStudyConfig(const fs::path& path, const std::vector<std::string>& overrides) {
  StudyConfig config;
  OptionSet(config).Load(path, overrides);
  MakeAdapterConfig(config.pipeline.lora);
  for (const std::string& name : config.study.methods) FindStudyMethod(name);
  CheckStudyOptions(config.study);
  config.pipeline.model.dtype = ResolveDtype(config.pipeline.model);
  return config;
}

void AddStudyCommand(CLI::App& app, Invocation& invocation) {
  auto flags = std::make_shared<StudyFlags>();
  CLI::App* command = app.add_subcommand("study",
                                         "compare methods and ablations on the same rows, with intervals and "
                                         "p-values; goes on where it stopped");
  command->add_option("--config", flags->config, "YAML with a run's options and section study")
      ->type_name("FILE");
  command->add_option("--out", flags->output, "the study's folder")->type_name("DIR");
  command->add_option("--set", flags->overrides, "section.name=value, on top of the file; repeatable")
      ->type_name("OPTION=VALUE")
      ->take_all()
      ->expected(1);
  command->add_flag("--list", flags->list, "the methods there are, and nothing else");
  command->add_flag("--print-config", flags->print_config, "all options with their help, and nothing else");
  command->add_flag("--json", flags->json, "one JSON object per method on stdout");
  command->callback([&invocation, flags] { invocation.action = [flags] { Study(*flags); }; });
}

}  // namespace elrea
