#include "train/run_state.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "core/error.h"
#include "core/safetensors.h"
#include "lora/tensor_file.h"

namespace elrea {

namespace {

constexpr const char* kStateFile = "state.safetensors";
constexpr const char* kFormatVersion = "2";

Json Scalars(const RunState& s) {
  return {{"steps", s.adam.steps},   {"epoch", s.epoch},           {"batch", s.batch},
          {"tokens", s.tokens},      {"loss_sum", s.loss_sum},     {"loss_count", s.loss_count},
          {"seconds", s.seconds},    {"last_loss", s.last_loss},   {"last_validation_loss", s.last_validation_loss}};
}

RunState ParseScalars(const Json& j, const std::string& origin) {
  RunState s;
  s.adam.steps = JsonField<int64_t>(j, "steps", origin);
  s.epoch = JsonField<int64_t>(j, "epoch", origin);
  s.batch = JsonField<int64_t>(j, "batch", origin);
  s.tokens = JsonField<int64_t>(j, "tokens", origin);
  s.loss_sum = JsonField<double>(j, "loss_sum", origin);
  s.loss_count = JsonField<int64_t>(j, "loss_count", origin);
  s.seconds = JsonField<double>(j, "seconds", origin);
  s.last_loss = JsonField<double>(j, "last_loss", origin);
  s.last_validation_loss = JsonField<double>(j, "last_validation_loss", origin);
  return s;
}

}  // namespace

void RunState::EndEpoch() {
  last_loss = loss_sum / static_cast<double>(loss_count);
  loss_sum = 0;
  loss_count = 0;
  batch = 0;
  ++epoch;
}

void SaveRunStates(const std::filesystem::path& directory, const std::map<std::string, const RunState*>& states) {
  std::vector<std::pair<std::string, torch::Tensor>> tensors;
  Json scalars = Json::object();
  for (const auto& [name, s] : states) {
    tensors.insert(tensors.end(), {{name + "/params", s->params.cpu()},
                                   {name + "/adam.m", s->adam.m.cpu()},
                                   {name + "/adam.v", s->adam.v.cpu()}});
    scalars[name] = Scalars(*s);
  }
  SaveTensors(directory / kStateFile, tensors, {{"format_version", kFormatVersion}, {"state", JsonLine(scalars)}});
}

std::map<std::string, RunState> LoadRunStates(const std::filesystem::path& directory) {
  std::map<std::string, RunState> states;
  if (!fs::exists(directory / kStateFile)) return states;
  SafetensorsFile file(directory / kStateFile);
  VerifySafetensors(file);
  std::string origin = file.path().string();
  auto version = file.metadata().find("format_version"), text = file.metadata().find("state");
  if (version == file.metadata().end() || version->second != kFormatVersion) {
    throw Error(ErrorKind::kInvalidInput,
                origin + ": not of format_version " + kFormatVersion + ". Go on with the elrea that wrote it, or delete it");
  }
  Json scalars = ParseJson(text == file.metadata().end() ? "" : text->second, origin);
  for (const auto& [name, j] : scalars.items()) {
    RunState& s = states[name] = ParseScalars(j, origin);
    s.params = LoadFloat(file, name + "/params");
    s.adam.m = LoadFloat(file, name + "/adam.m");
    s.adam.v = LoadFloat(file, name + "/adam.v");
  }
  return states;
}

void CheckRunState(const RunState& state, int64_t num_params, int64_t epochs, int64_t steps_per_epoch,
                   const std::filesystem::path& directory) {
  bool fits = state.epoch >= 0 && state.epoch <= epochs && state.batch >= 0 && state.batch < steps_per_epoch &&
              state.adam.steps == state.epoch * steps_per_epoch + state.batch && state.tokens >= 0 && state.loss_count >= 0;
  for (const torch::Tensor* t : {&state.params, &state.adam.m, &state.adam.v}) fits = fits && t->sizes() == at::IntArrayRef(num_params);
  if (fits) return;
  throw Error(ErrorKind::kCorrupt,
              fmt::format("{}: step {} after {} epochs and {} batches, with {} parameters, is no state of this fine-tuning of {}; "
                          "delete the file to begin again",
                          (directory / kStateFile).string(), state.adam.steps, state.epoch, state.batch,
                          state.params.numel(), num_params));
}

void RemoveRunStates(const std::filesystem::path& directory) { fs::remove(directory / kStateFile); }

void TruncateMetrics(const std::filesystem::path& path, int64_t last_step) {
  if (!fs::exists(path)) return;
  std::string kept;
  ForEachLine(path, [&](int64_t, std::string_view line) {
    Json j = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    const auto step = j.find("step");  // the end of what is no object
    if (step != j.end() && step->is_number_integer() && step->get<int64_t>() <= last_step) kept += std::string(line) + "\n";
  });
  WriteFileAtomically(path, kept);
}

}  // namespace elrea
