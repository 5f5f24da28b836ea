// Python pickles: weights as torch.save writes them. Reading one may run any program, so none is read.
#pragma once

#include <filesystem>

namespace elrea {

// Whether a file's name is that of a pickle: .bin, .pt, .pth, .ckpt, .pkl.
bool IsPickleName(const std::filesystem::path& file);

// kInvalidInput with the command that makes safetensors of it: when `model` is a pickle, or a folder with one
// in it.
void RefusePickledModel(const std::filesystem::path& model);
// The same for an adapter: a pickle, or a folder whose weights are adapter_model.bin.
void RefusePickledAdapter(const std::filesystem::path& adapter);

}  // namespace elrea
