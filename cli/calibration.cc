#include "cli/calibration.h"

#include <map>

#include "core/error.h"
#include "core/log.h"
#include "core/rng.h"
#include "model/calibrate.h"
#include "model/codes_file.h"
#include "model/fetch.h"
#include "model/hf_weights.h"
#include "model/packed_batch.h"

namespace elrea {
namespace {

bool AsksForCalibration(const BackboneOptions& options) {
  const WeightStorage storage = ParseWeightStorage(options.quantize);
  const bool four_bits = storage == WeightStorage::kNf4 || storage == WeightStorage::kNf4Double;
  return four_bits && options.codes.empty() && options.calibration_tokens > 0;
}

// A random sample of a stream of rows, as large as the budget of tokens allows: each row has a random place in a queue,
// and of those seen so far the first in it are kept.
class RowSample {
 public:
  explicit RowSample(int64_t budget) : budget_(budget) {}

  void Add(std::span<const int32_t> tokens) {
    constexpr uint64_t kSeed = 0, kStream = 0x63616c;
    kept_.emplace(RandomBits(kSeed, kStream, num_rows_++), std::vector<int32_t>(tokens.begin(), tokens.end()));
    num_tokens_ += std::ssize(tokens);
    while (num_tokens_ - std::ssize(kept_.rbegin()->second) >= budget_) {
      num_tokens_ -= std::ssize(kept_.rbegin()->second);
      kept_.erase(std::prev(kept_.end()));
    }
  }

  PackedBatch Pack() const {
    std::vector<std::span<const int32_t>> rows;
    for (const auto& [place, tokens] : kept_) rows.emplace_back(tokens);
    return PackRows(rows);
  }

 private:
  int64_t budget_, num_tokens_ = 0;
  uint64_t num_rows_ = 0;
  std::map<uint64_t, std::vector<int32_t>> kept_;
};

// All that the codes depend on; the model by its name, since loading compares its contents.
Json CalibrationKey(const BackboneOptions& options, const DatasetOptions& rows) {
  Json files = Json::array();
  for (const std::string& file : rows.files) files.push_back(FileChecksumHex(file));
  return {{"model", options.path},           {"tokens", options.calibration_tokens}, {"dtype", ResolveDtype(options)}, {"files", files},
          {"columns", rows.columns},         {"chat_template", rows.chat_template},
          {"max_tokens", rows.max_tokens},   {"drop_duplicates", rows.drop_duplicates}};
}

bool IsOf(const fs::path& file, const BackboneOptions& options, const Json& key) {
  if (!fs::exists(file)) return false;
  const CodesFile kept(file);
  return kept.origin().storage == options.quantize && kept.origin().calibration == key;
}

void Calibrate(const BackboneOptions& options, const DatasetOptions& rows, const Json& key, const fs::path& file) {
  // Loading would say so too, but only after the codes were made.
  if (const fs::path model = ResolveModel(options.path); fs::is_directory(model)) RefuseQuantisedCheckpoint(model);
  BackboneOptions dense = options;
  dense.quantize = "none";
  dense.device = "cpu";
  const Backbone backbone = LoadBackbone(dense, rows.chat_template);
  RowSample sample(options.calibration_tokens);
  TokeniseFiles(rows, *backbone.tokenizer, *backbone.chat,
                [&](const ExampleRecord&, std::span<const int32_t> tokens, int64_t) { sample.Add(tokens); });
  const PackedBatch text = sample.Pack();
  const bool nested = options.quantize == "nf4_double";
  const CalibratedCodes codes = CalibrateNf4(*backbone.decoder, text, nested);
  LogInfo("calibrate", "{} on {} rows of {} tokens: the layers' outputs change by {:.1f}% (nearest codes: {:.1f}%)", options.quantize,
          text.num_segments(), text.num_tokens(), 100 * codes.output_error, 100 * codes.nearest_error);
  fs::create_directories(file.parent_path());
  WriteCodesFile(file, codes.matrices, {options.quantize, backbone.decoder->weights().fingerprint, key});
}

}  // namespace

BackboneOptions WithCalibratedCodes(const BackboneOptions& options, const DatasetOptions& rows, const fs::path& file) {
  if (!AsksForCalibration(options)) return options;
  WithContext("calibrating the model's codes", [&] {
    const Json key = CalibrationKey(options, rows);
    if (!IsOf(file, options, key)) Calibrate(options, rows, key, file);
  });
  BackboneOptions with_codes = options;
  with_codes.codes = file.string();
  return with_codes;
}

}  // namespace elrea
