#include "cli/run.h"

#include <fmt/format.h>

#include <algorithm>

#include "cli/calibration.h"
#include "cli/program.h"
#include "core/error.h"
#include "core/log.h"
#include "core/text.h"

namespace elrea {
namespace {

constexpr int kFormatVersion = 1;
constexpr const char* kCalibratedKey = "calibrated";

Json FileChecksums(const std::vector<std::string>& files) {
  Json list = Json::array();
  for (const std::string& file : files) list.push_back(FileChecksumHex(file));
  return list;
}

// The data by content: files may be moved, but not changed.
Json DataIdentity(const RunDataOptions& data) {
  return {{"data.files", FileChecksums(data.train.files)},
          {"data.validation_files", FileChecksums(data.validation_files)},
          {"data.test_files", FileChecksums(data.test_files)}};
}

// What the backbone contributes to every artifact.
Json BackboneIdentity(const Run& run) {
  const Decoder& decoder = *run.backbone.decoder;
  return {{"backbone", decoder.weights().fingerprint},
          {"tokenizer", run.backbone.tokenizer->fingerprint()},
          {"chat_template", run.backbone.chat->fingerprint()},
          {"dtype", decoder.dtype() == torch::kFloat ? "f32" : "bf16"}};
}

void MakeAbsolute(std::vector<std::string>& files) {
  for (std::string& file : files) file = fs::absolute(file).lexically_normal().string();
}

void Resolve(PipelineConfig& config) {
  config.model.dtype = ResolveDtype(config.model);
  if (fs::exists(config.model.path))
    config.model.path = fs::absolute(config.model.path).lexically_normal().string();
  if (!config.model.codes.empty()) config.model.codes = fs::absolute(config.model.codes).lexically_normal().string();
  MakeAbsolute(config.data.train.files);
  MakeAbsolute(config.data.validation_files);
  MakeAbsolute(config.data.test_files);
}

void AppendDifferences(const Json& there, const Json& here, std::vector<std::string>& differences) {
  for (const auto& [key, value] : here.items()) {
    const Json their = there.contains(key) ? there[key] : Json();
    if (their == value) continue;
    differences.push_back(value.is_array()
                              ? key + " (other contents)"
                              : fmt::format("{} (there {}, here {})", key, their.dump(), value.dump()));
  }
}

void RefuseDifferences(const std::vector<std::string>& differences, const RunPaths& paths) {
  if (differences.empty()) return;
  throw Error(
      ErrorKind::kInvalidInput,
      fmt::format(
          "{} was made with other settings: {}. Give another directory, or the settings it was made with",
          paths.root.string(), Join(differences, ", ")));
}

bool IsRun(const RunPaths& paths) { return fs::exists(paths.manifest()); }

[[noreturn]] void ThrowNoRun(const RunPaths& paths) {
  throw Error(ErrorKind::kNotFound,
              fmt::format("{} holds no run; make one with `elrea run --config FILE --out {}`",
                          paths.root.string(), paths.root.string()));
}

// Whether the request says enough to make a run.
bool NamesModel(const RunRequest& request) {
  return !request.config_path.empty() ||
         std::any_of(request.overrides.begin(), request.overrides.end(),
                     [](const std::string& text) { return text.starts_with("model.path="); });
}

// A folder with other things in it is more likely a slip than a place for a run.
void CheckIsFree(const RunPaths& paths) {
  if (!fs::exists(paths.root)) return;
  if (!fs::is_directory(paths.root)) {
    throw Error(ErrorKind::kInvalidInput, paths.root.string() + " is a file; give a folder for the run");
  }
  for (const auto& entry : fs::directory_iterator(paths.root)) {
    const std::string name = entry.path().filename().string();
    // Left by a run that was killed while it was made.
    if (name == "config.yaml" || name == "backbone.safetensors" || name.starts_with(".") || name.ends_with(".tmp")) continue;
    throw Error(ErrorKind::kInvalidInput,
                fmt::format("{} is not empty and holds no run (there is {}); give another --out",
                            paths.root.string(), name));
  }
}

void WriteManifest(const Run& run, bool has_own_codes) {
  Json manifest = {{"format_version", kFormatVersion}, {"elrea_version", kVersion},
                   {"model", run.config.model.path},   {"device", run.config.model.device},
                   {"rank", run.config.lora.rank},     {"seed", run.config.finetune.seed}};
  if (has_own_codes) manifest[kCalibratedKey] = true;
  manifest.update(BackboneIdentity(run));
  manifest.update(DataIdentity(run.config.data));
  WriteFileAtomically(run.paths.config(), ConfigYaml(run.config));
  WriteJsonFile(run.paths.manifest(), manifest);
}

// The codes that the run was made with, where these were calibrated.
BackboneOptions WithRunsCodes(const BackboneOptions& options, const Json& manifest, const RunPaths& paths) {
  BackboneOptions with_codes = options;
  if (options.codes.empty() && JsonFieldOr<bool>(manifest, kCalibratedKey, false, paths.manifest().string()))
    with_codes.codes = paths.codes().string();
  return with_codes;
}

// Compares with the saved run, loads the backbone, compares that too.
Run Reopen(const RunPaths& paths, const RunRequest& request) {
  const Json manifest = ReadVersionedJson(paths.manifest());
  const PipelineConfig saved = ReadRunConfig(paths);
  Run run{paths, {}, {}, {}};
  run.config =
      LoadConfig(request.config_path.empty() ? paths.config() : request.config_path, request.overrides);
  if (run.config.model.dtype == "auto") run.config.model.dtype = saved.model.dtype;
  Resolve(run.config);
  std::vector<std::string> differences = DifferencesThatMatter(saved, run.config);
  if (!request.config_path.empty()) AppendDifferences(manifest, DataIdentity(run.config.data), differences);
  RefuseDifferences(differences, paths);
  run.backbone = LoadBackbone(WithRunsCodes(run.config.model, manifest, paths), run.config.data.train.chat_template);
  AppendDifferences(manifest, BackboneIdentity(run), differences);
  RefuseDifferences(differences, paths);
  return run;
}

Run Create(const RunPaths& paths, const RunRequest& request) {
  CheckIsFree(paths);
  Run run{paths, LoadConfig(request.config_path, request.overrides), {}, {}};
  Resolve(run.config);
  DataIdentity(run.config.data);  // a missing file is found before the model is loaded
  const DatasetOptions& rows = run.config.data.train;
  const BackboneOptions model = WithCalibratedCodes(run.config.model, rows, paths.codes());
  run.backbone = LoadBackbone(model, rows.chat_template);
  run.lock = std::make_unique<DirectoryLock>(paths.root);
  WriteManifest(run, model.codes != run.config.model.codes);
  return run;
}

}  // namespace

PipelineConfig ReadRunConfig(const RunPaths& paths) {
  if (!IsRun(paths)) ThrowNoRun(paths);
  return LoadConfig(paths.config(), {});
}

Run OpenRunForWriting(const RunRequest& request) {
  const RunPaths paths{request.directory};
  if (!IsRun(paths)) {
    if (!NamesModel(request)) ThrowNoRun(paths);
    return Create(paths, request);
  }
  auto lock = std::make_unique<DirectoryLock>(paths.root);
  Run run = Reopen(paths, request);
  run.lock = std::move(lock);
  if (!request.config_path.empty()) WriteFileAtomically(paths.config(), ConfigYaml(run.config));
  return run;
}

Run OpenRunForReading(const RunRequest& request) {
  const RunPaths paths{request.directory};
  if (!IsRun(paths)) ThrowNoRun(paths);
  return Reopen(paths, request);
}

}  // namespace elrea
