// Normal forms come from utf8proc; ASCII text is in all of them already and skips it.
#include "data/tokenizer_normalizer.h"

#include <fmt/format.h>
#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <optional>

#include "core/error.h"
#include "data/bpe_vocabulary.h"
#include "data/precompiled_normalizer.h"
#include "data/pretokenizer_regex.h"
#include "data/text_classes.h"
#include "data/text_steps.h"

namespace elrea {
namespace {

constexpr int kMaxNesting = 8;

class RegexReplacement : public TextTransform {
 public:
  RegexReplacement(const std::string& from, std::string to, const std::string& origin)
      : from_(from), to_(std::move(to)), regex_(from, origin) {}
  std::string Apply(std::string_view text) const override { return regex_.ReplaceAll(text, to_); }
  std::string Description() const override { return fmt::format("regex {} {}", from_, to_); }

 private:
  std::string from_, to_;
  PreTokenizerRegex regex_;
};

// Appends a normal form of text whose characters utf8proc and the tokenizers library know alike.
void AppendNormalForm(std::string_view text, Normalizer::Step form, std::string& normalized) {
  const bool compose = form == Normalizer::Step::kNfc || form == Normalizer::Step::kNfkc;
  const bool compatible = form == Normalizer::Step::kNfkc || form == Normalizer::Step::kNfkd;
  const auto options =
      static_cast<utf8proc_option_t>(UTF8PROC_STABLE | (compose ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE) |
                                     (compatible ? UTF8PROC_COMPAT : 0));
  utf8proc_uint8_t* mapped = nullptr;
  const utf8proc_ssize_t num_bytes =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                   static_cast<utf8proc_ssize_t>(text.size()), &mapped, options);
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(mapped, &std::free);
  if (num_bytes < 0) {
    throw Error(ErrorKind::kInternal, fmt::format("normalising text: {}", utf8proc_errmsg(num_bytes)));
  }
  normalized.append(reinterpret_cast<const char*>(mapped), static_cast<size_t>(num_bytes));
}

// Characters that are part of no normal form, most of all those newer than the tokenizers library's, part the
// text: what is between them can be normalised by itself.
std::string ToNormalForm(std::string text, Normalizer::Step form) {
  if (std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; }))
    return text;
  const uint8_t* classes = TextClassTable();
  std::string normalized;
  normalized.reserve(text.size() + text.size() / 4);
  size_t begin = 0;  // of the characters that are not in `normalized` yet
  for (size_t pos = 0; pos < text.size();) {
    const Char c = CharAt(text, pos);
    if ((classes[c.code] & kNormalizedChar) == 0) {
      if (pos > begin) AppendNormalForm(std::string_view(text).substr(begin, pos - begin), form, normalized);
      begin = pos + c.num_bytes;
      normalized.append(text, pos, c.num_bytes);
    }
    pos += c.num_bytes;
  }
  if (begin < text.size()) AppendNormalForm(std::string_view(text).substr(begin), form, normalized);
  return normalized;
}

// Steps that need nothing but their name.
std::optional<Normalizer::Step> PlainStep(const std::string& type) {
  using Step = Normalizer::Step;
  static constexpr std::pair<const char*, Step> kSteps[] = {{"NFC", Step::kNfc},
                                                            {"NFD", Step::kNfd},
                                                            {"NFKC", Step::kNfkc},
                                                            {"NFKD", Step::kNfkd},
                                                            {"Nmt", Step::kNmt},
                                                            {"ByteLevel", Step::kByteAlphabet},
                                                            {"Lowercase", Step::kLowerCase},
                                                            {"StripAccents", Step::kStripAccents}};
  for (const auto& [name, step] : kSteps) {
    if (type == name) return step;
  }
  return std::nullopt;
}

}  // namespace

void Normalizer::AddJson(const SortedJson& section, const std::string& origin) {
  if (!section.is_null()) AddJsonAt(section, origin, 0);
}

void Normalizer::AddJsonAt(const SortedJson& section, const std::string& origin, int depth) {
  const auto type = JsonField<std::string>(section, "type", origin + ": normalizer");
  const std::string here = origin + ": normalizer " + type;
  if (type == "Sequence" && depth < kMaxNesting) {
    for (const SortedJson& part : JsonField<SortedJson>(section, "normalizers", here)) {
      AddJsonAt(part, origin, depth + 1);
    }
  } else if (const auto step = PlainStep(type)) {
    Add(*step);
  } else if (type == "BertNormalizer") {
    AddBert(section, here);
  } else if (type == "Strip") {
    if (JsonFieldOr<bool>(section, "strip_left", true, here)) Add(Step::kStripLeft);
    if (JsonFieldOr<bool>(section, "strip_right", true, here)) Add(Step::kStripRight);
  } else if (type == "Prepend") {
    Add(Step::kPrepend, JsonField<std::string>(section, "prepend", here));
  } else if (type == "Replace") {
    AddReplace(section, here);
  } else if (type == "Precompiled") {
    const auto encoded = JsonField<std::string>(section, "precompiled_charsmap", here);
    const std::string blob = DecodeBase64(encoded, here + ": precompiled_charsmap");
    Add(std::make_shared<PrecompiledNormalizer>(Charsmap(blob, here)));
  } else {
    throw Error(ErrorKind::kInvalidInput, here +
                                              " is not supported (Sequence, NFC, NFD, NFKC, NFKD, Prepend, "
                                              "Replace, Precompiled, BertNormalizer, ByteLevel, "
                                              "Lowercase, Strip, StripAccents and Nmt are)");
  }
}

void Normalizer::AddReplace(const SortedJson& section, const std::string& origin) {
  const auto pattern = JsonField<SortedJson>(section, "pattern", origin);
  const bool is_regex = pattern.is_object() && pattern.contains("Regex");
  const auto from = JsonField<std::string>(pattern, is_regex ? "Regex" : "String", origin);
  const auto to = JsonField<std::string>(section, "content", origin);
  if (from.empty()) throw Error(ErrorKind::kCorrupt, origin + ": the pattern is empty");
  if (is_regex) {
    Add(std::make_shared<RegexReplacement>(from, to, origin));
  } else {
    Add(Step::kReplace, to, from);
  }
}

// In the order in which the tokenizers library takes them.
void Normalizer::AddBert(const SortedJson& section, const std::string& origin) {
  const bool lowercase = JsonFieldOr<bool>(section, "lowercase", true, origin);
  if (JsonFieldOr<bool>(section, "clean_text", true, origin)) Add(Step::kCleanText);
  if (JsonFieldOr<bool>(section, "handle_chinese_chars", true, origin)) Add(Step::kSpaceIdeographs);
  if (JsonFieldOr<bool>(section, "strip_accents", lowercase, origin)) Add(Step::kStripAccentsNfd);
  if (lowercase) Add(Step::kLowerCase);
}

std::string Normalizer::Apply(std::string_view text) const {
  std::string current(text);
  for (const Rule& rule : steps_) current = ApplyRule(rule, std::move(current));
  return current;
}

std::string Normalizer::ApplyRule(const Rule& rule, std::string text) {
  switch (rule.step) {
    case Step::kReplace:
      return ReplaceAll(text, rule.from, rule.to);
    case Step::kPrepend:
      return text.empty() ? text : rule.to + text;
    case Step::kLowerCase:
      return LowerCase(text);
    case Step::kStripAccents:
      return RemoveClass(text, kCombiningMark);
    case Step::kStripAccentsNfd:
      return RemoveClass(ToNormalForm(std::move(text), Step::kNfd), kNonspacingMark);
    case Step::kCleanText:
      return CleanText(text);
    case Step::kSpaceIdeographs:
      return SpaceIdeographs(text);
    case Step::kStripLeft:
      return StripSpace(text, true, false);
    case Step::kStripRight:
      return StripSpace(text, false, true);
    case Step::kNmt:
      return CleanNmt(text);
    case Step::kByteAlphabet:
      return SpelledInAlphabet(text);
    case Step::kTransform:
      return rule.transform->Apply(text);
    case Step::kNfc:
    case Step::kNfd:
    case Step::kNfkc:
    case Step::kNfkd:
      return ToNormalForm(std::move(text), rule.step);
  }
  return text;
}

std::string Normalizer::Description() const {
  std::string text;
  for (const Rule& rule : steps_) {
    text += fmt::format("{} {} {};", static_cast<int>(rule.step), rule.from, rule.to);
    if (rule.transform) text += rule.transform->Description() + ";";
  }
  return text;
}

}  // namespace elrea
