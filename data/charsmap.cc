// A unit of the trie: bits 0-7 the label that leads to it, 8 whether a value follows, 9 whether the offset to
// its children (bits 10-30) is in units of 256; with bit 31 it is a value. Format: Darts-clone 0.32.
#include "data/charsmap.h"

#include <fmt/format.h>

#include <array>
#include <cstring>

#include "core/error.h"
#include "core/files.h"
#include "core/text.h"

namespace elrea {
namespace {

constexpr uint32_t kValueBit = uint32_t{1} << 31;

bool HasValue(uint32_t unit) { return (unit >> 8 & 1) != 0; }
uint32_t Label(uint32_t unit) { return unit & (kValueBit | 0xFF); }
uint32_t Offset(uint32_t unit) { return unit >> 10 << ((unit & (1U << 9)) >> 6); }

}  // namespace

Charsmap::Charsmap(std::string_view blob, const std::string& origin) : checksum_(ChecksumHex(blob)) {
  const auto corrupt = [&](const std::string& fault) {
    throw Error(ErrorKind::kCorrupt,
                fmt::format("{}: precompiled_charsmap {}; the file is damaged, get it again", origin, fault));
  };
  uint32_t trie_bytes = 0;
  if (blob.size() < sizeof trie_bytes) corrupt("is cut off");
  std::memcpy(&trie_bytes, blob.data(), sizeof trie_bytes);
  blob.remove_prefix(sizeof trie_bytes);
  if (trie_bytes > blob.size() || trie_bytes % sizeof(uint32_t) != 0 || trie_bytes == 0)
    corrupt(fmt::format("says that its trie has {} bytes, and has {}", trie_bytes, blob.size()));
  units_.resize(trie_bytes / sizeof(uint32_t));
  std::memcpy(units_.data(), blob.data(), trie_bytes);
  texts_ = blob.substr(trie_bytes);
  if (!IsValidUtf8(texts_)) corrupt("has texts that are not UTF-8");
}

// visit(bytes of the prefix, offset of its replacement), shortest first.
template <typename Visit>
void Charsmap::ForEachPrefix(std::string_view text, const Visit& visit) const {
  size_t node = Offset(units_[0]);
  for (size_t i = 0; i < text.size() && text[i] != '\0'; ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    node ^= byte;
    if (node >= units_.size()) return;
    const uint32_t unit = units_[node];
    if (Label(unit) != byte) return;
    node ^= Offset(unit);
    if (!HasValue(unit)) continue;
    if (node >= units_.size()) return;
    if (!visit(i + 1, units_[node] & ~kValueBit)) return;
  }
}

std::string_view Charsmap::TextAt(uint32_t offset) const {
  if (offset >= texts_.size()) return "";
  const std::string_view rest = std::string_view(texts_).substr(offset);
  return rest.substr(0, rest.find('\0'));
}

std::optional<Charsmap::Rule> Charsmap::Longest(std::string_view text) const {
  size_t num_bytes = 0;
  uint32_t offset = 0;
  ForEachPrefix(text, [&](size_t length, uint32_t at) {
    num_bytes = length;
    offset = at;
    return true;
  });
  if (num_bytes == 0) return std::nullopt;
  return Rule{num_bytes, TextAt(offset)};
}

std::optional<Charsmap::Rule> Charsmap::Shortest(std::string_view text) const {
  std::optional<Rule> rule;
  ForEachPrefix(text, [&](size_t length, uint32_t at) {
    rule = Rule{length, TextAt(at)};
    return false;
  });
  return rule;
}

bool Charsmap::MayBeginRule(std::string_view text) const {
  size_t node = Offset(units_[0]);
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    node ^= byte;
    if (node >= units_.size() || Label(units_[node]) != byte) return false;
    node ^= Offset(units_[node]);
  }
  return true;
}

std::string DecodeBase64(std::string_view text, const std::string& origin) {
  static constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::array<int8_t, 256> value_of;
  value_of.fill(-1);
  for (size_t i = 0; i < kDigits.size(); ++i)
    value_of[static_cast<unsigned char>(kDigits[i])] = static_cast<int8_t>(i);
  const size_t padding = text.ends_with("==") ? 2 : text.ends_with("=") ? 1 : 0;
  if (text.size() % 4 != 0)
    throw Error(ErrorKind::kCorrupt, origin + " is not base64: its length is no multiple of 4");
  std::string bytes;
  bytes.reserve(text.size() / 4 * 3);
  uint32_t bits = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool pad = i >= text.size() - padding;
    const int8_t value = pad ? 0 : value_of[static_cast<unsigned char>(text[i])];
    if (value < 0)
      throw Error(ErrorKind::kCorrupt, fmt::format("{} is not base64 at character {}", origin, i));
    bits = bits << 6 | static_cast<uint32_t>(value);
    if (i % 4 != 3) continue;
    for (const int shift : {16, 8, 0}) bytes += static_cast<char>(bits >> shift & 0xFF);
  }
  bytes.resize(bytes.size() - padding);
  return bytes;
}

}  // namespace elrea
