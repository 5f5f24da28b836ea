// POSIX files: atomic replacement, memory maps, line reading, checksums and the run directory's lock.
#include "core/files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sanitizer/asan_interface.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "core/decompressor.h"
#include "core/error.h"
#include "core/line_position.h"
#include "core/streaming_checksum.h"

namespace elrea {
namespace {

constexpr size_t kBufferBytes = size_t{1} << 20;
constexpr size_t kMaxLineBytes = size_t{1} << 26;  // far above any row of text

const char* Remedy(int error_number) {
  switch (error_number) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return "; free some space or choose another place, then run the same command again";
    case EACCES:
    case EPERM:
    case EROFS:
      return "; choose a place you may write, or change its permissions";
    case EMFILE:
    case ENFILE:
      return "; raise the limit of open files (ulimit -n)";
    case EISDIR:
      return "; name a file, not a folder";
    default:
      return "";
  }
}

[[noreturn]] void ThrowErrno(std::string_view action, const fs::path& path, int error_number) {
  if (error_number == ENOENT || error_number == ENOTDIR) {
    throw Error(ErrorKind::kNotFound, fmt::format("{} does not exist; check the path", path.string()));
  }
  throw Error(ErrorKind::kIo, fmt::format("cannot {} {}: {}{}", action, path.string(),
                                          std::strerror(error_number), Remedy(error_number)));
}

// A file descriptor that closes itself.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(Descriptor&& other) noexcept : fd_(other.Release()) {}
  Descriptor& operator=(Descriptor&&) = delete;
  int get() const { return fd_; }
  int Release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

Descriptor OpenForReading(const fs::path& path) {
  Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) {
    ThrowErrno("open", path, errno);
  }
  struct stat status;
  if (::fstat(file.get(), &status) == 0 && S_ISDIR(status.st_mode)) {
    throw Error(ErrorKind::kInvalidInput, fmt::format("{} is a folder; name a file", path.string()));
  }
  return file;
}

// Up to `num_bytes`; 0 at the end of the file.
size_t ReadSome(int fd, char* into, size_t num_bytes, const fs::path& path) {
  for (;;) {
    const ssize_t count = ::read(fd, into, num_bytes);
    if (count >= 0) {
      return static_cast<size_t>(count);
    }
    if (errno != EINTR) {
      ThrowErrno("read", path, errno);
    }
  }
}

void CreateFolder(const fs::path& folder) {
  if (folder.empty()) {
    return;
  }
  std::error_code failure;
  fs::create_directories(folder, failure);
  if (failure) {
    throw Error(ErrorKind::kIo, fmt::format("cannot create the folder {}: {}{}", folder.string(),
                                            failure.message(), Remedy(failure.value())));
  }
}

bool SameFile(int fd, const fs::path& path) {
  struct stat by_descriptor, by_path;
  return ::fstat(fd, &by_descriptor) == 0 && ::stat(path.c_str(), &by_path) == 0 &&
         by_descriptor.st_dev == by_path.st_dev && by_descriptor.st_ino == by_path.st_ino;
}

// Opens and locks the temporary file beside `path`. The name is fixed, so a killed process leaves at most
// one, and the next writer takes it over; the lock keeps two living writers apart. Whoever held the lock
// before may have renamed or removed the file that we opened: then open the name again.
int OpenTemporary(const fs::path& temp_path) {
  for (;;) {
    Descriptor file(::open(temp_path.c_str(), O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0666));
    if (file.get() < 0) {
      const int error_number = errno;
      if (error_number == ENOENT || error_number == ENOTDIR) {
        throw Error(ErrorKind::kIo, fmt::format("cannot create {}: its folder is not usable; check the path",
                                                temp_path.string()));
      }
      ThrowErrno("create", temp_path, error_number);
    }
    if (::flock(file.get(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
      throw Error(
          ErrorKind::kUnavailable,
          fmt::format("another process is writing {}; wait until it has finished", temp_path.string()));
    }
    if (!SameFile(file.get(), temp_path)) {
      continue;
    }
    if (::ftruncate(file.get(), 0) != 0) {
      ThrowErrno("truncate", temp_path, errno);
    }
    return file.Release();
  }
}

// Makes a rename in `folder` survive a power cut. Some file systems cannot sync a folder: that is no fault.
void SyncFolder(const fs::path& folder) {
  Descriptor handle(::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (handle.get() >= 0) {
    ::fsync(handle.get());
  }
}

std::string Hex16(uint64_t value) { return fmt::format("{:016x}", value); }

}  // namespace

AtomicFile::AtomicFile(fs::path path) : path_(std::move(path)), temp_path_(path_) {
  temp_path_ += ".tmp";
  CreateFolder(path_.parent_path());
  fd_ = OpenTemporary(temp_path_);
}

AtomicFile::~AtomicFile() {
  if (fd_ >= 0) {
    ::unlink(temp_path_.c_str());  // before close, while the lock is still held
    ::close(fd_);
  }
}

void AtomicFile::Write(const void* bytes, size_t num_bytes) {
  if (fd_ < 0) {
    throw Error(ErrorKind::kInternal, path_.string() + ": write after commit");
  }
  num_bytes_written_ += num_bytes;
  buffer_.append(static_cast<const char*>(bytes), num_bytes);
  if (buffer_.size() >= kBufferBytes) {
    Flush();
  }
}

void AtomicFile::Flush() {
  std::string_view rest = buffer_;
  while (!rest.empty()) {
    const ssize_t count = ::write(fd_, rest.data(), rest.size());
    if (count < 0) {
      if (errno == EINTR) continue;
      ThrowErrno("write", path_, errno);
    }
    rest.remove_prefix(static_cast<size_t>(count));
  }
  buffer_.clear();
}

void AtomicFile::Commit() {
  if (fd_ < 0) {
    throw Error(ErrorKind::kInternal, path_.string() + ": committed twice");
  }
  Flush();
  if (::fsync(fd_) != 0) {
    ThrowErrno("write", path_, errno);
  }
  if (::rename(temp_path_.c_str(), path_.c_str()) != 0) {
    ThrowErrno("replace", path_, errno);
  }
  ::close(std::exchange(fd_, -1));
  SyncFolder(path_.parent_path());
}

void WriteFileAtomically(const fs::path& path, std::string_view bytes) {
  AtomicFile file(path);
  file.Write(bytes);
  file.Commit();
}

std::string ReadFile(const fs::path& path, uint64_t max_bytes) {
  const Descriptor file = OpenForReading(path);
  std::string text;
  size_t size = 0;
  for (;;) {
    text.resize(size + kBufferBytes);
    const size_t count = ReadSome(file.get(), text.data() + size, kBufferBytes, path);
    size += count;
    if (size > max_bytes) {
      throw Error(ErrorKind::kInvalidInput,
                  fmt::format("{} is larger than the {} bytes allowed here", path.string(), max_bytes));
    }
    if (count == 0) {
      text.resize(size);
      return text;
    }
  }
}

namespace {

// What lies between the end of a mapped file and the end of its last page reads as zeros, so a parser that overruns the
// file goes unnoticed. Under the address sanitizer it is noticed: those bytes are poison. Else the macros do nothing.
size_t TailBytes(size_t size) {
  const size_t page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  return (page - size % page) % page;
}

}  // namespace

MappedFile::MappedFile(const fs::path& path) : path_(path) {
  const Descriptor file = OpenForReading(path);
  struct stat status;
  if (::fstat(file.get(), &status) != 0) {
    ThrowErrno("read", path, errno);
  }
  if (!S_ISREG(status.st_mode)) {
    throw Error(ErrorKind::kInvalidInput,
                fmt::format("{} is not a regular file; copy it to one", path.string()));
  }
  if (status.st_size == 0) {
    return;  // mmap refuses an empty range; the empty span says it all
  }
  size_ = static_cast<size_t>(status.st_size);
  void* address = ::mmap(nullptr, size_, PROT_READ, MAP_SHARED, file.get(), 0);
  if (address == MAP_FAILED) {
    ThrowErrno("map", path, errno);
  }
  data_ = static_cast<const std::byte*>(address);
  ASAN_POISON_MEMORY_REGION(data_ + size_, TailBytes(size_));
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) {
    ASAN_UNPOISON_MEMORY_REGION(data_ + size_, TailBytes(size_));
    ::munmap(const_cast<std::byte*>(data_), size_);
  }
}

void ForEachLineWithPosition(const fs::path& path, const std::function<void(int64_t, std::string_view)>& line,
                             const std::function<void(int64_t)>& position) {
  const Descriptor file = OpenForReading(path);
  int64_t number = 0, num_bytes = 0;
  const auto emit = [&](std::string_view text) {
    if (text.ends_with('\r')) {
      text.remove_suffix(1);
    }
    line(++number, text);
  };
  std::string partial;  // the beginning of a line that runs over the end of a piece
  const auto cut = [&](std::string_view rest) {
    for (size_t end; (end = rest.find('\n')) != std::string_view::npos; rest.remove_prefix(end + 1)) {
      if (partial.empty()) {
        emit(rest.substr(0, end));
      } else {
        partial.append(rest.substr(0, end));
        emit(partial);
        partial.clear();
      }
    }
    if (partial.size() + rest.size() > kMaxLineBytes) {
      throw Error(ErrorKind::kInvalidInput, fmt::format("{}: line {} is longer than {} bytes; is it text?",
                                                        path.string(), number + 1, kMaxLineBytes));
    }
    partial.append(rest);
  };
  Decompressor decompressor(path.string());
  std::string chunk(kBufferBytes, '\0');
  while (const size_t count = ReadSome(file.get(), chunk.data(), chunk.size(), path)) {
    decompressor.Push(std::string_view(chunk.data(), count), cut);
    num_bytes += static_cast<int64_t>(count);
    position(num_bytes);
  }
  decompressor.End();
  if (!partial.empty()) {
    emit(partial);
  }
}

void ForEachLine(const fs::path& path, const std::function<void(int64_t, std::string_view)>& line) {
  ForEachLineWithPosition(path, line, [](int64_t) {});
}

uint64_t Checksum(std::span<const std::byte> bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }
uint64_t Checksum(std::string_view bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }
std::string ChecksumHex(std::string_view bytes) { return Hex16(Checksum(bytes)); }

std::string FileChecksumHex(const fs::path& path) { return FileChecksumHex(path, UINT64_MAX); }

std::string FileChecksumHex(const fs::path& path, uint64_t max_bytes) {
  const Descriptor file = OpenForReading(path);
  StreamingChecksum sum;
  std::string chunk(kBufferBytes, '\0');
  while (max_bytes > 0) {
    const size_t count = ReadSome(file.get(), chunk.data(), std::min<uint64_t>(chunk.size(), max_bytes), path);
    if (count == 0) break;
    sum.Add(std::string_view(chunk).substr(0, count));
    max_bytes -= count;
  }
  return sum.Hex();
}

fs::path UserCacheDir() {
  const auto absolute = [](const char* variable) {
    const char* value = std::getenv(variable);
    return value != nullptr && value[0] == '/' ? fs::path(value) : fs::path();
  };
  if (fs::path cache = absolute("XDG_CACHE_HOME"); !cache.empty()) {
    return cache / "elrea";
  }
  if (fs::path home = absolute("HOME"); !home.empty()) {
    return home / ".cache" / "elrea";
  }
  throw Error(ErrorKind::kNotFound, "no cache folder: set HOME or XDG_CACHE_HOME to an absolute path");
}

DirectoryLock::DirectoryLock(const fs::path& directory) {
  CreateFolder(directory);
  const fs::path lock_path = directory / ".lock";
  Descriptor file(::open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666));
  if (file.get() < 0) {
    ThrowErrno("create", lock_path, errno);
  }
  if (::flock(file.get(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
    throw Error(ErrorKind::kInvalidInput,
                fmt::format("{} is in use by another elrea process; wait for it or choose another directory",
                            directory.string()));
  }
  fd_ = file.Release();
}

DirectoryLock::~DirectoryLock() {
  if (fd_ >= 0) {
    ::close(fd_);
  }
}

}  // namespace elrea
