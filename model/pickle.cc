#include "model/pickle.h"

#include <fmt/format.h>

#include <fstream>
#include <set>
#include <string>
#include <string_view>

#include "core/error.h"
#include "core/files.h"

namespace elrea {
namespace {

[[noreturn]] void Refuse(const fs::path& file, const std::string& command) {
  throw Error(
      ErrorKind::kInvalidInput,
      fmt::format(
          "{} is a Python pickle, which elrea does not read; make safetensors of it with: python -c \"{}\"",
          file.string(), command));
}

bool BeginsAsGguf(const fs::path& file) {
  char magic[4] = {};
  std::ifstream(file, std::ios::binary).read(magic, sizeof magic);
  return std::string_view(magic, sizeof magic) == "GGUF";
}

}  // namespace

bool IsPickleName(const fs::path& file) {
  static const std::set<std::string> endings = {".bin", ".pt", ".pth", ".ckpt", ".pkl"};
  return endings.contains(file.extension().string());
}

void RefusePickledModel(const fs::path& model) {
  constexpr const char* kConvert =
      "from transformers import AutoModelForCausalLM as M; "
      "M.from_pretrained('DIR').save_pretrained('NEW_DIR')";
  if (!fs::is_directory(model)) {
    if (IsPickleName(model) && !BeginsAsGguf(model)) Refuse(model, kConvert);
    return;
  }
  std::set<fs::path> pickles;  // the first by name is named
  for (const auto& entry : fs::directory_iterator(model)) {
    if (IsPickleName(entry.path())) pickles.insert(entry.path());
  }
  if (!pickles.empty()) Refuse(*pickles.begin(), kConvert);
}

void RefusePickledAdapter(const fs::path& adapter) {
  constexpr const char* kConvert =
      "import torch; from safetensors.torch import save_file; save_file(torch.load('adapter_model.bin', "
      "weights_only=True), 'adapter_model.safetensors')";
  const fs::path file = fs::is_directory(adapter) ? adapter / "adapter_model.bin" : adapter;
  if (fs::exists(file) && IsPickleName(file)) Refuse(file, kConvert);
}

}  // namespace elrea
