// A copy of a checkpoint with some of its matrices replaced; everything else - other tensors, configuration, tokenizer -
// stays byte for byte as it was.
#pragma once

#include <torch/types.h>

#include <filesystem>
#include <functional>
#include <map>
#include <string>

namespace elrea {

// `replaced`: [rows, in] f32 by the names of the source's own format. A matrix keeps the type it is stored in, but for
// quantised ones, which become F16. `record` goes into the file's metadata as "elrea.checked" when it is not empty.
// `target`: a folder that is made, or a file. Errors as of LoadModelWeights; kInvalidInput for a value that the type
// cannot hold.
void RewriteCheckpoint(const std::filesystem::path& source, const std::filesystem::path& target,
                       const std::map<std::string, torch::Tensor>& replaced, const std::string& record);

// The files of a Hugging Face directory in another one: `rewrite` makes each safetensors file, weights of other formats
// stay behind, everything else is copied.
void CopyModelDirectory(
    const std::filesystem::path& source, const std::filesystem::path& target,
    const std::function<void(const std::filesystem::path& from, const std::filesystem::path& to)>& rewrite);

}  // namespace elrea
