// Normal forms come from utf8proc; ASCII text is in all of them already and skips it.
#include "data/tokenizer_normalizer.h"

#include <fmt/format.h>
#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <optional>

#include "core/error.h"
#include "data/text_classes.h"
#include "data/text_steps.h"

namespace elrea {
namespace {

constexpr int kMaxNesting = 8;

std::string ToNormalForm(std::string text, Normalizer::Step form) {
  if (std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; }))
    return text;
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
  return {reinterpret_cast<const char*>(mapped), static_cast<size_t>(num_bytes)};
}

std::string ReplaceAll(std::string_view text, std::string_view from, std::string_view to) {
  std::string replaced;
  replaced.reserve(text.size() + text.size() / 2);
  for (;;) {
    const size_t found = text.find(from);
    replaced += text.substr(0, found);
    if (found == std::string_view::npos) return replaced;
    replaced += to;
    text.remove_prefix(found + from.size());
  }
}

// Steps that need nothing but their name.
std::optional<Normalizer::Step> PlainStep(const std::string& type) {
  using Step = Normalizer::Step;
  static constexpr std::pair<const char*, Step> kSteps[] = {{"NFC", Step::kNfc},
                                                            {"NFD", Step::kNfd},
                                                            {"NFKC", Step::kNfkc},
                                                            {"NFKD", Step::kNfkd},
                                                            {"Nmt", Step::kNmt},
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
    const auto from = JsonField<std::string>(JsonField<SortedJson>(section, "pattern", here), "String", here);
    if (from.empty()) throw Error(ErrorKind::kCorrupt, here + ": the pattern is empty");
    Add(Step::kReplace, JsonField<std::string>(section, "content", here), from);
  } else {
    throw Error(ErrorKind::kInvalidInput, here +
                                              " is not supported (Sequence, NFC, NFD, NFKC, NFKD, Prepend, "
                                              "Replace of a string, BertNormalizer, "
                                              "Lowercase, Strip, StripAccents and Nmt are)");
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

bool Normalizer::prepends() const {
  return std::any_of(steps_.begin(), steps_.end(), [](const Rule& rule) {
    return rule.step == Step::kPrepend || rule.step == Step::kPrependUnlessThere ||
           rule.step == Step::kPrependToFirst;
  });
}

std::string Normalizer::Apply(std::string_view text, bool at_start) const {
  std::string current(text);
  for (const Rule& rule : steps_) current = ApplyRule(rule, std::move(current), at_start);
  return current;
}

std::string Normalizer::ApplyRule(const Rule& rule, std::string text, bool at_start) {
  switch (rule.step) {
    case Step::kReplace:
      return ReplaceAll(text, rule.from, rule.to);
    case Step::kPrepend:
      return text.empty() ? text : rule.to + text;
    case Step::kPrependToFirst:
      return at_start && !text.starts_with(rule.to) ? rule.to + text : text;
    case Step::kPrependUnlessThere:
      return text.starts_with(rule.to) ? text : rule.to + text;
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
  }
  return text;
}

}  // namespace elrea
