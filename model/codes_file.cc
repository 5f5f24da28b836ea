#include "model/codes_file.h"

#include <fmt/format.h>

#include "core/error.h"
#include "model/bitsandbytes_writer.h"

namespace elrea {

namespace {

constexpr const char* kOriginKey = "elrea.codes";
constexpr const char* kChecksumKey = "elrea.checksum";

CodesOrigin ReadOrigin(const SafetensorsFile& file) {
  const auto it = file.metadata().find(kOriginKey);
  if (it == file.metadata().end() || !file.metadata().contains(kChecksumKey)) {
    throw Error(ErrorKind::kCorrupt,
                fmt::format("{} is no file of calibrated codes (it lacks {})", file.path().string(), kOriginKey));
  }
  const std::string place = fmt::format("{}, {}", file.path().string(), kOriginKey);
  const Json json = ParseJson(it->second, place);
  return {JsonField<std::string>(json, "storage", place), JsonField<std::string>(json, "fingerprint", place),
          JsonField<Json>(json, "calibration", place)};
}

}  // namespace

void WriteCodesFile(const std::filesystem::path& path,
                    const std::map<std::string, std::shared_ptr<const FourBitCodes>>& matrices,
                    const CodesOrigin& origin) {
  FileTensors file;
  for (const auto& [name, codes] : matrices) AddFourBits(file, name, "bfloat16", *codes);
  const Json described = {
      {"storage", origin.storage}, {"fingerprint", origin.fingerprint}, {"calibration", origin.calibration}};
  WriteSafetensors(path, file.tensors(), {{"format", "pt"}, {kOriginKey, JsonLine(described)}}, /*checksum=*/true);
}

CodesFile::CodesFile(const std::filesystem::path& path) : file_(path), origin_(ReadOrigin(file_)) {
  VerifySafetensors(file_);
  checksum_ = file_.metadata().at(kChecksumKey);
  matrices_ = FindBitsAndBytes(file_.tensors(), path.string());
}

CodedRows CodesFile::Rows(const TensorSlot& slot) const {
  const std::string origin = file_.path().string();
  const auto it = matrices_.find(slot.hf_name);
  if (it == matrices_.end()) {
    throw Error(ErrorKind::kCorrupt, fmt::format("{}: {} is missing; delete the file to calibrate again", origin, slot.hf_name));
  }
  if (it->second.shape != slot.stored_shape()) {
    throw Error(ErrorKind::kCorrupt, fmt::format("{}: {} has shape {}, expected {}", origin, slot.hf_name,
                                                 ShapeText(it->second.shape), ShapeText(slot.stored_shape())));
  }
  if (last_.first != slot.hf_name)
    last_ = {slot.hf_name, ReadBitsAndBytes(file_.tensors(), slot.hf_name, it->second, origin)};
  return {last_.second, slot.first_row, slot.shape[0]};
}

}  // namespace elrea
