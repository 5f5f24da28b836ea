#include "train/manifest.h"

#include <fmt/format.h>

#include "core/error.h"
#include "core/json.h"
#include "core/streaming_checksum.h"
#include "lora/adapter_file.h"

namespace elrea {

namespace {

constexpr const char* kManifest = "finetune.json";

std::string RowsChecksum(const std::vector<const TokenRow*>& rows) {
  StreamingChecksum sum;
  for (const TokenRow* row : rows) {
    sum.Add(std::as_bytes(std::span(&row->num_prompt, 1)));
    sum.Add(std::as_bytes(std::span(row->tokens)));
  }
  return sum.Hex();
}

// How often a state is saved changes nothing of the result, so it is not part of the identity.
Json Identity(const FinetuneJob& job, FinetuneOptions options) {
  options.checkpoint_every_s = 0;
  OptionSet set(options);
  const torch::Tensor& p = job.start.params;
  std::string_view start(static_cast<const char*>(p.data_ptr()), p.nbytes());
  return {{"backbone", job.decoder->weights().fingerprint},
          {"rank", job.start.config.rank},
          {"alpha", job.start.config.alpha},
          {"start_adapter", ChecksumHex(start)},
          {"num_rows", job.rows.size()},
          {"rows", RowsChecksum(job.rows)},
          {"validation_rows", RowsChecksum(job.validation)},
          {"dtype", job.decoder->dtype() == torch::kFloat ? "f32" : "bf16"},
          {"options", set.ToJson()}};
}

void RefuseDifference(const Json& ours, const Json& theirs, const fs::path& path) {
  if (ours == theirs) return;
  std::string differing;
  for (const auto& [key, value] : ours.items()) {
    if (!theirs.contains(key) || theirs[key] != value) {
      differing += fmt::format(" {} (there {}, here {})", key, theirs.contains(key) ? theirs[key].dump() : "-", value.dump());
    }
  }
  throw Error(ErrorKind::kInvalidInput, path.string() + " belongs to another job, differing in" + differing +
                                            ". Use another output directory, or delete this one");
}

}  // namespace

std::optional<FinetuneResult> OpenJob(const FinetuneJob& job, const FinetuneOptions& options) {
  fs::path path = job.directory / kManifest;
  Json identity = Identity(job, options);
  if (!fs::exists(path)) {
    WriteJsonFile(path, {{"format_version", 1}, {"job", identity}});
    return std::nullopt;
  }
  Json manifest = ReadVersionedJson(path);
  std::string origin = path.string();
  RefuseDifference(identity, manifest.value("job", Json::object()), path);
  if (!manifest.contains("result")) return std::nullopt;
  const Json& r = manifest["result"];
  return FinetuneResult{LoadAdapter(job.directory, job.decoder->config()),
                        JsonField<int64_t>(r, "steps", origin),
                        JsonField<int64_t>(r, "tokens", origin),
                        JsonField<double>(r, "final_loss", origin),
                        JsonField<double>(r, "validation_loss", origin),
                        JsonField<double>(r, "seconds", origin)};
}

void MarkJobFinished(const std::filesystem::path& directory, const FinetuneResult& result) {
  Json manifest = ReadJsonFile(directory / kManifest);
  manifest["result"] = {{"steps", result.steps},
                        {"tokens", result.tokens},
                        {"final_loss", result.final_loss},
                        {"validation_loss", result.validation_loss},
                        {"seconds", result.seconds}};
  WriteJsonFile(directory / kManifest, manifest);
}

}  // namespace elrea
