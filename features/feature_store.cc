#include "features/feature_store.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>

#include "core/error.h"

namespace elrea {

namespace {

constexpr const char* kPartialData = "partial.bin";       // f32 rows, appended
constexpr const char* kPartialManifest = "partial.json";  // the spec, and size and checksum of each whole chunk

Json SpecJson(const FeatureStoreSpec& s) {
  return {{"num_rows", s.num_rows}, {"dim", s.dim}, {"fingerprint", s.fingerprint}, {"rows", s.rows}};
}

FeatureStoreSpec ParseSpec(const Json& j, const std::string& origin) {
  return {JsonField<int64_t>(j, "num_rows", origin), JsonField<int64_t>(j, "dim", origin),
          JsonField<std::string>(j, "fingerprint", origin), JsonField<std::string>(j, "rows", origin)};
}

void RefuseDifference(const FeatureStoreSpec& here, const FeatureStoreSpec& there, const fs::path& directory) {
  if (here == there) return;
  std::string what;
  if (here.num_rows != there.num_rows) what += fmt::format(" number of rows ({} there, {} here)", there.num_rows, here.num_rows);
  if (here.dim != there.dim) what += fmt::format(" projection_dim ({} there, {} here)", there.dim, here.dim);
  if (here.rows != there.rows) what += " the rows' text";
  if (here.fingerprint != there.fingerprint) what += " checkpoints, projection seed or feature options";
  throw Error(ErrorKind::kInvalidInput, fmt::format("{} holds features of something else; different:{}. Delete it, or use another run",
                                                    directory.string(), what));
}

[[noreturn]] void FailIo(const fs::path& path, const char* verb) {
  throw Error(ErrorKind::kIo, fmt::format("{}: cannot {}: {}", path.string(), verb, std::strerror(errno)));
}

void RemovePartialFiles(const fs::path& directory) {
  fs::remove(directory / kPartialData);
  fs::remove(directory / kPartialManifest);
}

std::string_view Bytes(std::span<const float> values) {
  return {reinterpret_cast<const char*>(values.data()), values.size_bytes()};
}

std::string_view Text(std::span<const std::byte> bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

}  // namespace

FeatureStoreWriter::FeatureStoreWriter(std::filesystem::path directory, const FeatureStoreSpec& spec)
    : directory_(std::move(directory)), spec_(spec) {
  if (fs::exists(directory_ / kFeaturesFileName)) {
    RefuseDifference(spec_, FeatureStore(directory_).spec(), directory_);
    RemovePartialFiles(directory_);  // a session killed just after the rename left them
    num_done_ = spec_.num_rows;
    finished_ = true;
    return;
  }
  fs::create_directories(directory_);
  // Before the file is opened: a part that is refused leaves no descriptor behind.
  if (fs::exists(directory_ / kPartialManifest)) Resume(ReadVersionedJson(directory_ / kPartialManifest));
  fs::path data = directory_ / kPartialData;
  fd_ = ::open(data.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd_ < 0) FailIo(data, "open for writing");
  // What a killed session wrote beyond its last whole chunk goes.
  off_t whole = static_cast<off_t>(num_done_ * spec_.dim * static_cast<int64_t>(sizeof(float)));
  if (::ftruncate(fd_, whole) != 0 || ::lseek(fd_, 0, SEEK_END) < 0) FailIo(data, "truncate");
  SaveManifest();
}

FeatureStoreWriter::~FeatureStoreWriter() {
  if (fd_ >= 0) ::close(fd_);
}

void FeatureStoreWriter::Resume(const Json& manifest) {
  fs::path path = directory_ / kPartialManifest, data = directory_ / kPartialData;
  RefuseDifference(spec_, ParseSpec(manifest, path.string()), directory_);
  std::optional<MappedFile> mapped;
  if (fs::exists(data)) mapped.emplace(data);
  const std::string_view bytes = mapped ? Text(mapped->bytes()) : "";
  for (const Json& chunk : manifest.value("chunks", Json::array())) {
    auto rows = JsonField<int64_t>(chunk, "rows", path.string());
    const bool in_place = rows >= 1 && rows <= spec_.num_rows - num_done_;
    const auto begin = static_cast<uint64_t>(num_done_ * spec_.dim) * sizeof(float);
    const auto size = static_cast<uint64_t>((in_place ? rows : 0) * spec_.dim) * sizeof(float);
    if (!in_place || bytes.size() < begin + size ||
        ChecksumHex(bytes.substr(begin, size)) != JsonField<std::string>(chunk, "checksum", path.string())) {
      throw Error(ErrorKind::kCorrupt, fmt::format("{}: rows from {} do not match their checksum; delete {} and extract again",
                                                   data.string(), num_done_ + 1, directory_.string()));
    }
    num_done_ += rows;
    chunks_.push_back(chunk);
  }
}

void FeatureStoreWriter::SaveManifest() const {
  Json manifest = SpecJson(spec_);
  manifest["format_version"] = 1;
  manifest["chunks"] = chunks_;
  WriteJsonFile(directory_ / kPartialManifest, manifest);
}

void FeatureStoreWriter::Append(std::span<const float> rows) {
  std::string_view bytes = Bytes(rows);
  for (size_t written = 0; written < bytes.size();) {
    ssize_t n = ::write(fd_, bytes.data() + written, bytes.size() - written);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) FailIo(directory_ / kPartialData, "write");
    written += static_cast<size_t>(n);
  }
  if (::fsync(fd_) != 0) FailIo(directory_ / kPartialData, "write");
  auto count = static_cast<int64_t>(rows.size()) / spec_.dim;
  chunks_.push_back({{"rows", count}, {"checksum", ChecksumHex(bytes)}});
  num_done_ += count;
  SaveManifest();
}

void FeatureStoreWriter::Finish() {
  if (finished_) return;
  if (num_done_ != spec_.num_rows) {
    throw Error(ErrorKind::kInternal, fmt::format("{} of {} features are done", num_done_, spec_.num_rows));
  }
  {
    MappedFile data(directory_ / kPartialData);
    WriteSafetensors(directory_ / kFeaturesFileName, {{"features", DType::kF32, {spec_.num_rows, spec_.dim}, data.bytes()}},
                     {{"format_version", "1"}, {"elrea.features", JsonLine(SpecJson(spec_))}});
  }
  RemovePartialFiles(directory_);
  finished_ = true;
}

FeatureStore::FeatureStore(const std::filesystem::path& directory) {
  fs::path path = directory / kFeaturesFileName;
  if (!fs::exists(path)) {
    throw Error(ErrorKind::kNotFound, path.string() + " is not there: the features are not finished");
  }
  file_ = std::make_unique<SafetensorsFile>(path);
  VerifySafetensors(*file_);
  auto text = file_->metadata().find("elrea.features");
  if (text == file_->metadata().end()) throw Error(ErrorKind::kCorrupt, path.string() + ": not a feature file of elrea");
  auto version = file_->metadata().find("format_version");
  if (version == file_->metadata().end() || version->second != "1") {
    throw Error(ErrorKind::kInvalidInput, path.string() + ": not of format_version 1. Use the elrea that wrote it");
  }
  spec_ = ParseSpec(ParseJson(text->second, path.string()), path.string());
  const TensorView& view = file_->Get("features");
  if (view.dtype != DType::kF32 || view.shape != std::vector<int64_t>{spec_.num_rows, spec_.dim}) {
    throw Error(ErrorKind::kCorrupt, path.string() + ": the tensor's shape is not the one recorded");
  }
  if (reinterpret_cast<uintptr_t>(view.bytes.data()) % alignof(float) != 0) {
    throw Error(ErrorKind::kCorrupt, path.string() + ": its header is not padded, so the numbers cannot be read in place; extract again");
  }
  values_ = {reinterpret_cast<const float*>(view.bytes.data()), view.bytes.size() / sizeof(float)};
}

}  // namespace elrea
