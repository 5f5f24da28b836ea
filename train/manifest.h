// finetune.json: which job a directory belongs to, and its result once finished.
#pragma once

#include <optional>

#include "train/finetune.h"

namespace elrea {

// Creates the directory with the job's identity (options, rows, start adapter, backbone), or checks that it is the same
// job's. The result when that job is finished. kInvalidInput names what differs.
std::optional<FinetuneResult> OpenJob(const FinetuneJob& job, const FinetuneOptions& options);

void MarkJobFinished(const std::filesystem::path& directory, const FinetuneResult& result);

}  // namespace elrea
