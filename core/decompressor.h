// Makes gzip and zstd files read like plain ones. The kind is told by the first bytes, not by the name.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace elrea {

// One file's bytes, piece by piece. Memory does not grow with what a file expands to. Single-thread.
class Decompressor {
 public:
  using Sink = std::function<void(std::string_view)>;
  explicit Decompressor(std::string origin);  // named in errors
  ~Decompressor();
  Decompressor(const Decompressor&) = delete;
  Decompressor& operator=(const Decompressor&) = delete;

  // Hands on what `bytes`, the file's next, stand for; plain bytes as they are. The first piece must hold at
  // least four bytes, or the whole file. kCorrupt for damaged data.
  void Push(std::string_view bytes, const Sink& sink);
  void End();  // kCorrupt when the file ends in the middle of compressed data

  class Stream;  // one kind of compression

 private:
  std::string origin_;
  bool begun_ = false;
  std::unique_ptr<Stream> stream_;  // none: plain
};

}  // namespace elrea
