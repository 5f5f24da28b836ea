// Reading and writing files so that a crash, a full disk or a second process never leaves half a file.
//
// Every artifact is written temp file -> fsync -> rename -> fsync of the folder. Readers map whole files.
// Errors: kNotFound, kIo; messages name the path and the remedy.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace elrea {

namespace fs = std::filesystem;

// A file that appears at `path` whole, on Commit(), or not at all. Single-thread.
class AtomicFile {
 public:
  // Creates the parent folder and a temporary file beside `path`.
  explicit AtomicFile(fs::path path);
  ~AtomicFile();  // without Commit(): removes the temporary file
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void Write(const void* bytes, size_t num_bytes);
  void Write(std::string_view text) { Write(text.data(), text.size()); }
  uint64_t num_bytes_written() const { return num_bytes_written_; }

  // Flushes to the disk and renames over `path`.
  void Commit();

 private:
  fs::path path_;
  fs::path temp_path_;
  int fd_ = -1;
  uint64_t num_bytes_written_ = 0;
  std::string buffer_;
  void Flush();
};

void WriteFileAtomically(const fs::path& path, std::string_view bytes);

// The whole file; kInvalidInput when it is larger than `max_bytes`.
std::string ReadFile(const fs::path& path, uint64_t max_bytes = uint64_t{1} << 31);

// A read-only memory map of a whole file. Const-shareable.
class MappedFile {
 public:
  explicit MappedFile(const fs::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

// Calls `line(number, text)` for every line, 1-based, without its "\n" or "\r\n"; an empty last line is not a
// line. A file that begins as gzip or zstd files do is decompressed on the way. kCorrupt for damaged compression,
// kInvalidInput for a line over 64 MiB.
void ForEachLine(const fs::path& path,
                 const std::function<void(int64_t number, std::string_view text)>& line);

// XXH3 64 of the bytes, and as 16 hexadecimal digits.
uint64_t Checksum(std::span<const std::byte> bytes);
uint64_t Checksum(std::string_view bytes);
std::string ChecksumHex(std::string_view bytes);
std::string FileChecksumHex(const fs::path& path);

// $XDG_CACHE_HOME/elrea or ~/.cache/elrea.
fs::path UserCacheDir();

// An advisory lock on a run directory: two processes never write one run. Released on destruction or death.
class DirectoryLock {
 public:
  explicit DirectoryLock(const fs::path& directory);  // kInvalidInput when another process holds it
  ~DirectoryLock();
  DirectoryLock(const DirectoryLock&) = delete;
  DirectoryLock& operator=(const DirectoryLock&) = delete;

 private:
  int fd_ = -1;
};

}  // namespace elrea
