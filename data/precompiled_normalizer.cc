#include "data/precompiled_normalizer.h"

#include <fmt/format.h>
#include <utf8proc.h>

#include <utility>

#include "data/pretokenizer_chars.h"

namespace elrea {
namespace {

constexpr std::string_view kLowLine = "\xE2\x96\x81";  // U+2581
constexpr size_t kMaxClusterBytes = 5;

bool IsAscii(char c) { return static_cast<unsigned char>(c) < 0x80; }

// End of the grapheme cluster that begins at `pos`.
size_t ClusterEnd(std::string_view text, size_t pos) {
  Char last = CharAt(text, pos);
  pos += last.num_bytes;
  utf8proc_int32_t state = 0;
  while (pos < text.size()) {
    const Char next = CharAt(text, pos);
    if (utf8proc_grapheme_break_stateful(static_cast<utf8proc_int32_t>(last.code),
                                         static_cast<utf8proc_int32_t>(next.code), &state))
      break;
    pos += next.num_bytes;
    last = next;
  }
  return pos;
}

}  // namespace

std::string PrecompiledNormalizer::Apply(std::string_view text) const {
  std::string normalized;
  normalized.reserve(text.size() + text.size() / 4);
  const auto append = [&](std::string_view part) {
    const auto rule = charsmap_.Shortest(part);
    normalized += rule ? rule->replacement : part;
  };
  for (size_t pos = 0; pos < text.size();) {
    const size_t end = ClusterEnd(text, pos);
    const std::string_view cluster = text.substr(pos, end - pos);
    pos = end;
    if (cluster.size() <= kMaxClusterBytes && charsmap_.Shortest(cluster)) {
      append(cluster);
      continue;
    }
    for (size_t at = 0; at < cluster.size();) {
      const size_t num_bytes = CharAt(cluster, at).num_bytes;
      append(cluster.substr(at, num_bytes));
      at += num_bytes;
    }
  }
  return normalized;
}

SentencePieceNormalizer::SentencePieceNormalizer(SentencePieceRules rules, std::optional<Charsmap> charsmap,
                                                 AddedTokenMatcher user_defined)
    : rules_(rules), charsmap_(std::move(charsmap)), user_defined_(std::move(user_defined)) {
  for (size_t code = 1; code < stays_.size(); ++code) {
    const std::string text(1, static_cast<char>(code));
    bool begins = code == ' ';
    for (const AddedToken& token : user_defined_.tokens()) begins |= token.content.starts_with(text);
    if (charsmap_ && charsmap_->Longest(text)) begins = true;
    for (size_t next = 1; next < 128 && charsmap_ && !begins; ++next)
      begins = charsmap_->MayBeginRule(text + static_cast<char>(next));
    stays_[code] = !begins;
  }
}

SentencePieceNormalizer::Prefix SentencePieceNormalizer::NextPrefix(std::string_view text) const {
  if (const AddedToken* token = user_defined_.LongestAt(text)) {
    return {text.substr(0, token->content.size()), token->content.size()};
  }
  if (charsmap_) {
    if (const auto rule = charsmap_->Longest(text)) return {rule->replacement, rule->num_bytes};
  }
  const size_t num_bytes = CharAt(text, 0).num_bytes;
  return {text.substr(0, num_bytes), num_bytes};
}

void SentencePieceNormalizer::Append(std::string_view text, std::string& normalized) const {
  for (const char c : text) {
    if (c == ' ' && rules_.escape_whitespaces) {
      normalized += kLowLine;
    } else {
      normalized += c;
    }
  }
}

std::string SentencePieceNormalizer::Apply(std::string_view text) const {
  const bool squeeze = rules_.remove_extra_whitespaces;
  while (squeeze && !text.empty()) {
    const Prefix prefix = NextPrefix(text);
    if (prefix.text != " ") break;
    text.remove_prefix(prefix.num_bytes);
  }
  std::string normalized;
  if (text.empty()) return normalized;
  normalized.reserve(text.size() + text.size() / 2);
  const std::string_view space = rules_.escape_whitespaces ? kLowLine : " ";
  if (rules_.add_dummy_prefix && !rules_.whitespace_as_suffix) normalized += space;
  bool behind_space = squeeze;
  while (!text.empty()) {
    const auto code = static_cast<unsigned char>(text[0]);
    if (code < 0x80 && stays_[code] && (text.size() == 1 || IsAscii(text[1]))) {
      normalized += text[0];
      text.remove_prefix(1);
      behind_space = false;
      continue;
    }
    const Prefix prefix = NextPrefix(text);
    std::string_view part = prefix.text;
    while (behind_space && part.starts_with(' ')) part.remove_prefix(1);
    Append(part, normalized);
    if (!part.empty()) behind_space = squeeze && part.ends_with(' ');
    text.remove_prefix(prefix.num_bytes);
  }
  while (squeeze && normalized.ends_with(space)) normalized.resize(normalized.size() - space.size());
  if (rules_.add_dummy_prefix && rules_.whitespace_as_suffix) normalized += space;
  return normalized;
}

std::string SentencePieceNormalizer::Description() const {
  std::string text = fmt::format("sentencepiece {}{}{}{} {}", rules_.add_dummy_prefix,
                                 rules_.remove_extra_whitespaces, rules_.escape_whitespaces,
                                 rules_.whitespace_as_suffix, charsmap_ ? charsmap_->checksum() : "");
  for (const AddedToken& token : user_defined_.tokens()) text += "\n" + token.content;
  return text;
}

}  // namespace elrea
