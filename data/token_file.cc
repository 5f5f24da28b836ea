// "elreatok" | i32 tokens | u32[3] per row | JSON footer | u64 length of the footer | u64 checksum of all
// before it
#include "data/token_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "core/error.h"
#include "core/log.h"

namespace elrea {
namespace {

constexpr std::string_view kMagic = "elreatok";
constexpr int64_t kFormatVersion = 1;
constexpr size_t kIndexEntry = 3;  // numbers per row
constexpr uint64_t kMaxFooterBytes = 100'000'000;
constexpr size_t kSumBytes = sizeof(uint64_t);

[[noreturn]] void ThrowDamaged(const fs::path& path, const std::string& what) {
  throw Error(ErrorKind::kCorrupt, fmt::format("{}: {}", path.string(), what));
}

struct Layout {
  Json footer;
  uint64_t num_tokens = 0, num_rows = 0;
  std::span<const int32_t> tokens;
  std::span<const uint32_t> index;
};

template <typename T>
std::span<const T> Numbers(std::span<const std::byte> bytes, uint64_t at, uint64_t count) {
  return {reinterpret_cast<const T*>(bytes.data() + at), static_cast<size_t>(count)};
}

uint64_t NumberAt(std::span<const std::byte> bytes, size_t at) {
  uint64_t value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

void CheckSum(const MappedFile& file) {
  const size_t checked = file.bytes().size() - kSumBytes;
  if (FileChecksumHex(file.path(), checked) != fmt::format("{:016x}", NumberAt(file.bytes(), checked)))
    ThrowDamaged(file.path(), "its checksum is not the one stored");
}

// Every length is checked before it is used.
Layout ReadLayout(const MappedFile& file) {
  const auto bytes = file.bytes();
  constexpr size_t kTailBytes = sizeof(uint64_t) + kSumBytes;
  if (bytes.size() < kMagic.size() + kTailBytes ||
      std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) != 0)
    ThrowDamaged(file.path(), "not a file of tokens");
  const uint64_t room = bytes.size() - kMagic.size() - kTailBytes;
  const uint64_t footer_bytes = NumberAt(bytes, bytes.size() - kTailBytes);
  if (footer_bytes > std::min(room, kMaxFooterBytes))
    ThrowDamaged(file.path(), "its footer is longer than the file");
  const uint64_t body_bytes = room - footer_bytes;
  const char* text = reinterpret_cast<const char*>(bytes.data()) + kMagic.size() + body_bytes;
  const std::string origin = file.path().string();
  Layout layout;
  layout.footer = ParseJson({text, static_cast<size_t>(footer_bytes)}, origin);
  if (JsonField<int64_t>(layout.footer, "format_version", origin) != kFormatVersion)
    ThrowDamaged(file.path(), "its version is not known");
  layout.num_tokens = JsonField<uint64_t>(layout.footer, "num_tokens", origin);
  layout.num_rows = JsonField<uint64_t>(layout.footer, "num_rows", origin);
  constexpr uint64_t kRowBytes = kIndexEntry * sizeof(uint32_t);
  if (layout.num_tokens > body_bytes / sizeof(int32_t) || layout.num_rows > body_bytes / kRowBytes ||
      layout.num_tokens * sizeof(int32_t) + layout.num_rows * kRowBytes != body_bytes)
    ThrowDamaged(file.path(), "its counts do not fit its size");
  layout.tokens = Numbers<int32_t>(bytes, kMagic.size(), layout.num_tokens);
  layout.index = Numbers<uint32_t>(bytes, kMagic.size() + layout.num_tokens * sizeof(int32_t),
                                   layout.num_rows * kIndexEntry);
  return layout;
}

TokenFile MakeRows(const std::shared_ptr<const MappedFile>& file, const Layout& layout) {
  TokenFile made;
  made.sources = JsonField<std::vector<std::string>>(layout.footer, "sources", file->path().string());
  made.rows.reserve(layout.num_rows);
  uint64_t begin = 0;
  for (size_t row = 0; row < layout.num_rows; ++row) {
    const uint32_t* entry = &layout.index[row * kIndexEntry];
    if (entry[0] > layout.num_tokens - begin || entry[1] > entry[0] || entry[2] >= made.sources.size())
      ThrowDamaged(file->path(), fmt::format("row {} does not fit", row));
    made.rows.push_back(
        {TokenIds(file, layout.tokens.subspan(begin, entry[0])), entry[1], static_cast<int32_t>(entry[2])});
    begin += entry[0];
  }
  return made;
}

}  // namespace

TokenFileWriter::TokenFileWriter(const fs::path& path) : file_(path) { Write(kMagic.data(), kMagic.size()); }

void TokenFileWriter::Write(const void* bytes, size_t num_bytes) {
  sum_.Add(std::string_view(static_cast<const char*>(bytes), num_bytes));
  file_.Write(bytes, num_bytes);
}

void TokenFileWriter::Add(std::span<const int32_t> tokens, int64_t num_prompt, const std::string& source) {
  const auto [id, is_new] = source_ids_.try_emplace(source, static_cast<uint32_t>(sources_.size()));
  if (is_new) sources_.push_back(source);
  Write(tokens.data(), tokens.size_bytes());
  num_tokens_ += tokens.size();
  index_.insert(index_.end(),
                {static_cast<uint32_t>(tokens.size()), static_cast<uint32_t>(num_prompt), id->second});
}

void TokenFileWriter::Commit(const Json& key) {
  Write(index_.data(), index_.size() * sizeof(uint32_t));
  const std::string footer = JsonLine({{"format_version", kFormatVersion},
                                       {"key", key},
                                       {"num_rows", index_.size() / kIndexEntry},
                                       {"num_tokens", num_tokens_},
                                       {"sources", sources_}});
  Write(footer.data(), footer.size());
  const uint64_t footer_bytes = footer.size();
  Write(&footer_bytes, sizeof footer_bytes);
  const uint64_t sum = sum_.Value();
  file_.Write(&sum, sizeof sum);
  file_.Commit();
}

std::optional<TokenFile> OpenTokenFile(const fs::path& path, const Json& key) {
  if (!fs::exists(path)) return std::nullopt;
  try {
    const auto file = std::make_shared<const MappedFile>(path);
    const Layout layout = ReadLayout(*file);
    if (layout.footer.value("key", Json()) != key) return std::nullopt;
    CheckSum(*file);
    return MakeRows(file, layout);
  } catch (const Error& error) {
    LogWarning("data", "{}; it is damaged and is made again", error.what());
    return std::nullopt;
  }
}

}  // namespace elrea
