#include "cli/pipeline_config.h"

#include <fmt/format.h>

#include "core/error.h"
#include "core/text.h"
#include "eval/method.h"

namespace elrea {
namespace {

// Options that may change between sessions of one run: they leave every earlier artifact valid, or are
// compared by content (the backbone, also as it is quantised, and the data by their checksums) rather than by name.
bool MayChange(const std::string& path) {
  for (const char* section : {"routing.", "generation.", "eval."}) {
    if (path.starts_with(section)) return true;
  }
  for (const char* field : {"model.path", "model.dtype", "model.device", "model.gpu_memory_utilization", "model.quantize", "model.codes", "model.decode_weights",
                            "data.files", "data.validation_files", "data.test_files",
                            "finetune.checkpoint_every_s", "features.more_projection_dims"}) {
    if (path == field) return true;
  }
  return false;
}

Json ValueAt(const Json& root, const std::string& path) {
  return root.at(Json::json_pointer("/" + fmt::format("{}", fmt::join(Split(path, '.'), "/"))));
}

}  // namespace

PipelineConfig LoadConfig(const fs::path& path, const std::vector<std::string>& overrides) {
  PipelineConfig config;
  OptionSet(config).Load(path, overrides);
  const auto check = [&] {
    MakeAdapterConfig(config.lora);
    AllProjectionDims(config.features);
    for (const std::string& name : config.eval.methods) FindMethod(name);
  };
  if (path.empty()) {
    check();
  } else {
    WithContext(path.string(), check);
  }
  return config;
}

std::string ConfigYaml(PipelineConfig config) { return OptionSet(config).ToYaml(); }

Json ConfigJson(PipelineConfig config) { return OptionSet(config).ToJson(); }

std::vector<std::string> DifferencesThatMatter(const PipelineConfig& there, const PipelineConfig& here) {
  PipelineConfig copy = here;
  const Json ours = ConfigJson(here), theirs = ConfigJson(there);
  std::vector<std::string> differences;
  const OptionSet options(copy);
  for (const OptionField& field : options.fields()) {
    if (MayChange(field.path)) continue;
    const Json our = ValueAt(ours, field.path), their = ValueAt(theirs, field.path);
    if (our != their)
      differences.push_back(fmt::format("{} (there {}, here {})", field.path, their.dump(), our.dump()));
  }
  return differences;
}

FinetuneOptions ExpertFinetuneOptions(const PipelineConfig& config) {
  FinetuneOptions options = config.finetune;
  options.learning_rate = config.experts.learning_rate;
  if (config.experts.epochs > 0) options.epochs = config.experts.epochs;
  if (config.experts.batch_size > 0) options.batch_size = config.experts.batch_size;
  return options;
}

}  // namespace elrea
