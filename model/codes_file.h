// The calibrated codes of a backbone's matrices, in a file beside its checkpoint, which keeps everything else: embedding,
// norms and biases. Stored as bitsandbytes stores them (bitsandbytes.h), under Hugging Face's names whatever the
// checkpoint's format.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include "core/json.h"
#include "core/safetensors.h"
#include "model/bitsandbytes.h"
#include "model/bitsandbytes_codes.h"
#include "model/tensor_table.h"

namespace elrea {

// What a file of codes says of itself.
struct CodesOrigin {
  std::string storage;      // "nf4" or "nf4_double"
  std::string fingerprint;  // of the checkpoint that was quantised
  Json calibration;         // what the text was; compared as a whole
};

void WriteCodesFile(const std::filesystem::path& path,
                    const std::map<std::string, std::shared_ptr<const FourBitCodes>>& matrices,
                    const CodesOrigin& origin);

class CodesFile {
 public:
  // kNotFound; kCorrupt, naming file and tensor, for one that is damaged or not such a file.
  explicit CodesFile(const std::filesystem::path& path);

  const CodesOrigin& origin() const { return origin_; }
  const std::string& checksum() const { return checksum_; }
  // The rows of a matrix's slot. kCorrupt when the file lacks it or holds another shape.
  CodedRows Rows(const TensorSlot& slot) const;

 private:
  SafetensorsFile file_;
  CodesOrigin origin_;
  std::string checksum_;
  std::map<std::string, BitsAndBytesMatrix> matrices_;
  mutable std::pair<std::string, std::shared_ptr<const MatrixCodes>> last_;  // slots that share a tensor follow each other
};

}  // namespace elrea
