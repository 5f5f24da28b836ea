// Tokenised rows in one file (docs/formats.md): written row by row, read through a memory map, so that
// neither side holds the tokens. The file says what it was made from; it can be deleted at any time and is
// made again.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/files.h"
#include "core/json.h"
#include "core/streaming_checksum.h"
#include "data/token_row.h"

namespace elrea {

// Writes one file; nothing is left without Commit().
class TokenFileWriter {
 public:
  explicit TokenFileWriter(const fs::path& path);
  // REQUIRES: num_prompt <= tokens.size() < 2^32.
  void Add(std::span<const int32_t> tokens, int64_t num_prompt, const std::string& source);
  // `key`: whatever the tokens depend on.
  void Commit(const Json& key);

 private:
  void Write(const void* bytes, size_t num_bytes);

  AtomicFile file_;
  StreamingChecksum sum_;
  std::vector<uint32_t> index_;  // per row: tokens, prompt tokens, source
  uint64_t num_tokens_ = 0;
  std::vector<std::string> sources_;
  std::unordered_map<std::string, uint32_t> source_ids_;
};

struct TokenFile {
  std::vector<TokenRow> rows;  // keep the map open
  std::vector<std::string> sources;
};

// Nothing when there is no such file, when it is of another key, or when it is damaged, which is warned of.
std::optional<TokenFile> OpenTokenFile(const fs::path& path, const Json& key);

}  // namespace elrea
