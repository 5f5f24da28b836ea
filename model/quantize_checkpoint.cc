#include "model/quantize_checkpoint.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>
#include <set>

#include "core/error.h"
#include "core/json.h"
#include "core/safetensors.h"
#include "model/bitsandbytes_writer.h"
#include "model/rewrite_checkpoint.h"
#include "model/tensor_table.h"

namespace elrea {

using torch::Tensor;

namespace {

const char* PythonTypeName(DType dtype) {
  return dtype == DType::kBF16 ? "bfloat16" : dtype == DType::kF16 ? "float16" : "float32";
}

using CodesByName = std::map<std::string, std::shared_ptr<const MatrixCodes>>;

// Returns the names of the tensors written.
std::set<std::string> QuantizeFile(const fs::path& from, const fs::path& to, const CodesByName& quantised) {
  const SafetensorsFile source(from);
  FileTensors file;
  for (const auto& [name, view] : source.tensors()) {
    const auto it = quantised.find(name);
    if (it == quantised.end()) {
      file.Keep(name, view);
    } else if (const auto* eight = dynamic_cast<const EightBitCodes*>(it->second.get())) {
      AddEightBits(file, name, *eight);
    } else {
      AddFourBits(file, name, PythonTypeName(view.dtype), dynamic_cast<const FourBitCodes&>(*it->second));
    }
  }
  std::map<std::string, std::string> metadata = source.metadata();
  metadata.erase("elrea.checksum");  // of the other tensors
  metadata["format"] = "pt";
  WriteSafetensors(to, file.tensors(), metadata);
  std::set<std::string> written;
  for (const NamedTensor& tensor : file.tensors()) written.insert(tensor.name);
  return written;
}

void WriteConfig(const fs::path& target, WeightStorage storage) {
  Json config = ReadJsonFile(target / "config.json");
  const bool eight = storage == WeightStorage::kInt8;
  Json& q = config["quantization_config"] = {{"quant_method", "bitsandbytes"},
                                             {"load_in_4bit", !eight},
                                             {"load_in_8bit", eight},
                                             {"llm_int8_threshold", 6.0}};
  if (!eight) {
    q["bnb_4bit_quant_type"] = "nf4";
    q["bnb_4bit_use_double_quant"] = storage == WeightStorage::kNf4Double;
    q["bnb_4bit_compute_dtype"] = "bfloat16";
    q["bnb_4bit_quant_storage"] = "uint8";
  }
  WriteJsonFile(target / "config.json", config);
}

// Lists all that the files hold now.
void WriteIndex(const fs::path& target, const std::map<std::string, std::set<std::string>>& names_in) {
  const fs::path path = target / "model.safetensors.index.json";
  if (!fs::exists(path)) return;
  Json index = ReadJsonFile(path);
  index["weight_map"] = Json::object();
  uintmax_t total = 0;
  for (const auto& [file, names] : names_in) {
    for (const std::string& name : names) index["weight_map"][name] = file;
    total += fs::file_size(target / file);
  }
  index["metadata"]["total_size"] = total;
  WriteJsonFile(path, index);
}

// The stored matrices as loading quantised them: whole tensors, also where several slots are parts of one.
CodesByName CodesOf(ModelWeights& weights) {
  CodesByName codes;
  for (const TensorSlot& slot : ListTensors(weights)) {
    if (slot.codes != nullptr) codes[slot.hf_name] = slot.codes->codes;
  }
  return codes;
}

}  // namespace

ModelWeights QuantizeCheckpoint(const std::filesystem::path& source, const std::filesystem::path& target,
                                WeightStorage storage, const std::filesystem::path& codes) {
  if (!fs::is_directory(source)) {
    throw Error(ErrorKind::kInvalidInput,
                fmt::format("{} is no Hugging Face directory; a GGUF file is quantised already or while it is loaded "
                            "(model.quantize)",
                            source.string()));
  }
  if (fs::exists(target) && fs::equivalent(source, target))
    throw Error(ErrorKind::kInvalidInput, fmt::format("{} is the model itself; give another folder", target.string()));
  // Names every fault of the source before anything is written.
  ModelWeights weights = LoadModelWeights(source, torch::kFloat, storage, codes);
  const CodesByName matrices = CodesOf(weights);
  std::map<std::string, std::set<std::string>> names_in;
  CopyModelDirectory(source, target, [&](const fs::path& from, const fs::path& to) {
    names_in[to.filename().string()] = QuantizeFile(from, to, matrices);
  });
  WriteConfig(target, storage);
  WriteIndex(target, names_in);
  return weights;
}

}  // namespace elrea
