#include "train/run_state.h"

#include <ATen/ATen.h>

#include "core/safetensors.h"
#include "lora/tensor_file.h"

namespace elrea {

namespace {

constexpr const char* kStateFile = "state.safetensors";

Json Scalars(const RunState& s) {
  return {{"steps", s.adam.steps},   {"epoch", s.epoch},           {"batch", s.batch},
          {"tokens", s.tokens},      {"loss_sum", s.loss_sum},     {"loss_count", s.loss_count},
          {"seconds", s.seconds},    {"last_loss", s.last_loss},   {"last_validation_loss", s.last_validation_loss}};
}

}  // namespace

void SaveRunState(const std::filesystem::path& directory, const RunState& s) {
  SaveTensors(directory / kStateFile, {{"params", s.params}, {"adam.m", s.adam.m}, {"adam.v", s.adam.v}},
              {{"format_version", "1"}, {"state", JsonLine(Scalars(s))}});
}

bool LoadRunState(const std::filesystem::path& directory, RunState& s) {
  if (!fs::exists(directory / kStateFile)) return false;
  SafetensorsFile file(directory / kStateFile);
  VerifySafetensors(file);
  std::string origin = file.path().string();
  auto text = file.metadata().find("state");
  Json j = ParseJson(text == file.metadata().end() ? "" : text->second, origin);
  s.params = LoadFloat(file, "params");
  s.adam.m = LoadFloat(file, "adam.m");
  s.adam.v = LoadFloat(file, "adam.v");
  s.adam.steps = JsonField<int64_t>(j, "steps", origin);
  s.epoch = JsonField<int64_t>(j, "epoch", origin);
  s.batch = JsonField<int64_t>(j, "batch", origin);
  s.tokens = JsonField<int64_t>(j, "tokens", origin);
  s.loss_sum = JsonField<double>(j, "loss_sum", origin);
  s.loss_count = JsonField<int64_t>(j, "loss_count", origin);
  s.seconds = JsonField<double>(j, "seconds", origin);
  s.last_loss = JsonField<double>(j, "last_loss", origin);
  s.last_validation_loss = JsonField<double>(j, "last_validation_loss", origin);
  return true;
}

void RemoveRunState(const std::filesystem::path& directory) { fs::remove(directory / kStateFile); }

void TruncateMetrics(const std::filesystem::path& path, int64_t last_step) {
  if (!fs::exists(path)) return;
  std::string kept;
  ForEachLine(path, [&](int64_t, std::string_view line) {
    Json j = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (j.is_object() && j.value("step", int64_t{0}) <= last_step) kept += std::string(line) + "\n";
  });
  WriteFileAtomically(path, kept);
}

}  // namespace elrea
