// Stages in sequence, each cutting the pieces of the one before.
#include "data/pretokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "core/text.h"
#include "data/bpe_vocabulary.h"
#include "data/text_classes.h"
#include "data/text_steps.h"

namespace elrea {
namespace {

// llama.cpp's names, grouped as its own table groups them.
struct GgufName {
  const char* name;
  ScannerKind kind;
};
constexpr GgufName kGgufNames[] = {
    {"gpt2", ScannerKind::kGpt2},        {"gpt-2", ScannerKind::kGpt2},
    {"phi-2", ScannerKind::kGpt2},       {"smollm", ScannerKind::kSmolLm},
    {"starcoder", ScannerKind::kSmolLm}, {"refact", ScannerKind::kSmolLm},
    {"command-r", ScannerKind::kSmolLm}, {"codeshell", ScannerKind::kSmolLm},
    {"llama-bpe", ScannerKind::kLlama3}, {"llama3", ScannerKind::kLlama3},
    {"llama-v3", ScannerKind::kLlama3},  {"falcon3", ScannerKind::kLlama3},
    {"dbrx", ScannerKind::kLlama3},      {"smaug-bpe", ScannerKind::kLlama3},
    {"qwen2", ScannerKind::kQwen2},      {"deepseek-r1-qwen", ScannerKind::kQwen2},
};

void SplitDigits(std::string_view text, bool individual, std::vector<std::string_view>& pieces) {
  const uint8_t* classes = CharClassTable();
  size_t begin = 0;
  bool in_digits = false;
  for (size_t pos = 0; pos < text.size();) {
    const Char c = CharAt(text, pos);
    const bool digit = (classes[c.code] & kNumericChar) != 0;
    if (pos > begin && (digit != in_digits || (digit && individual))) {
      pieces.push_back(text.substr(begin, pos - begin));
      begin = pos;
    }
    in_digits = digit;
    pos += c.num_bytes;
  }
  if (begin < text.size()) pieces.push_back(text.substr(begin));
}

// As the tokenizers library does it: spaces belong to the script before them, and those before the first
// script are lost.
void SplitScripts(std::string_view text, std::vector<std::string_view>& pieces) {
  const uint8_t* scripts = ScriptTable();
  size_t begin = std::string_view::npos;
  uint8_t current = kAnyScript;
  for (size_t pos = 0; pos < text.size();) {
    const Char c = CharAt(text, pos);
    const uint8_t script = scripts[c.code];
    if (script != kAnyScript && script != current) {
      if (begin != std::string_view::npos) pieces.push_back(text.substr(begin, pos - begin));
      begin = pos;
      current = script;
    }
    pos += c.num_bytes;
  }
  if (begin != std::string_view::npos) pieces.push_back(text.substr(begin));
}

void SplitFixed(std::string_view text, int64_t num_chars, std::vector<std::string_view>& pieces) {
  size_t begin = 0;
  int64_t count = 0;
  for (size_t pos = 0; pos < text.size();) {
    pos += CharAt(text, pos).num_bytes;
    if (++count < num_chars && pos < text.size()) continue;
    pieces.push_back(text.substr(begin, pos - begin));
    begin = pos;
    count = 0;
  }
}

}  // namespace

PreTokenizer PreTokenizer::FromGgufName(const std::string& name, const std::string& origin) {
  std::vector<std::string> known;
  for (const GgufName& entry : kGgufNames) {
    if (name == entry.name) {
      PreTokenizer made(entry.kind);
      made.bytes_ = true;
      return made;
    }
    known.emplace_back(entry.name);
  }
  throw Error(
      ErrorKind::kInvalidInput,
      fmt::format(
          "{}: unsupported pre-tokenizer tokenizer.ggml.pre = \"{}\"; supported are {}. Use a model of "
          "one of these families",
          origin, name, Join(known, ", ")));
}

bool PreTokenizer::Is(const Stage& stage, PlainStage plain) {
  const auto* held = std::get_if<PlainStage>(&stage);
  return held != nullptr && *held == plain;
}

bool PreTokenizer::TakeByteAlphabet() {
  const auto spells = [](const Stage& stage) { return Is(stage, PlainStage::kByteAlphabet); };
  if (stages_.empty() || !spells(stages_.back()) || std::count_if(stages_.begin(), stages_.end(), spells) > 1)
    return false;
  stages_.pop_back();
  bytes_ = true;
  return true;
}

std::vector<PreTokenizerRegex::Match> PreTokenizer::PatternStage::Find(std::string_view text) const {
  if (regex) return regex->FindAll(text);
  std::vector<PreTokenizerRegex::Match> matches;
  if (pattern.empty()) return matches;
  for (size_t pos = text.find(pattern); pos != std::string_view::npos;
       pos = text.find(pattern, pos + pattern.size())) {
    matches.push_back({pos, pos + pattern.size()});
  }
  return matches;
}

std::vector<PreTokenizerRegex::Match> PreTokenizer::ClassStage::Find(std::string_view text) const {
  const uint8_t* classes = kind == Kind::kSpace ? CharClassTable() : TextClassTable();
  const uint8_t wanted = kind == Kind::kSpace         ? kSpaceChar
                         : kind == Kind::kPunctuation ? kPunctuationChar
                                                      : kWordChar;
  std::vector<PreTokenizerRegex::Match> matches;
  for (size_t pos = 0; pos < text.size();) {
    const Char c = CharAt(text, pos);
    if (classes[c.code] & wanted) matches.push_back({pos, pos + c.num_bytes});
    pos += c.num_bytes;
  }
  return matches;
}

void PreTokenizer::RunStage(const Stage& stage, std::string_view text,
                            std::vector<std::string_view>& pieces) {
  if (const auto* scanner = std::get_if<ScannerKind>(&stage)) {
    ScanPieces(*scanner, text, pieces);
  } else if (const auto* digits = std::get_if<DigitsStage>(&stage)) {
    SplitDigits(text, digits->individual, pieces);
  } else if (const auto* chars = std::get_if<ClassStage>(&stage)) {
    PushPieces(text, chars->Find(text), chars->behavior, false, pieces);
  } else if (const auto* pattern = std::get_if<std::unique_ptr<const PatternStage>>(&stage)) {
    PushPieces(text, (*pattern)->Find(text), (*pattern)->behavior, (*pattern)->invert, pieces);
  } else if (Is(stage, PlainStage::kScripts)) {
    SplitScripts(text, pieces);
  } else if (const auto* fixed = std::get_if<FixedLengthStage>(&stage)) {
    SplitFixed(text, fixed->num_chars, pieces);
  } else {
    pieces.push_back(text);
  }
}

std::optional<std::string> PreTokenizer::Rewrite(const Stage& stage, std::string_view text, bool first) {
  using Prepend = MetaspaceStage::Prepend;
  if (const auto* owned = std::get_if<std::unique_ptr<const MetaspaceStage>>(&stage)) {
    const MetaspaceStage* metaspace = owned->get();
    std::string replaced = ReplaceAll(text, " ", metaspace->replacement);
    const bool wanted =
        metaspace->prepend == Prepend::kAlways || (metaspace->prepend == Prepend::kFirst && first);
    return wanted && !replaced.starts_with(metaspace->replacement) ? metaspace->replacement + replaced
                                                                   : replaced;
  }
  if (Is(stage, PlainStage::kPrefixSpace)) {
    if (text.starts_with(' ')) return std::nullopt;
    return " " + std::string(text);
  }
  if (Is(stage, PlainStage::kByteAlphabet)) return SpelledInAlphabet(text);
  return std::nullopt;
}

void PreTokenizer::Split(std::string_view text, bool at_start, std::vector<std::string_view>& pieces,
                         std::deque<std::string>& rewritten) const {
  if (text.empty()) return;
  if (stages_.size() == 1 && std::holds_alternative<ScannerKind>(stages_[0])) {
    RunStage(stages_[0], text, pieces);
    return;
  }
  const char* start = at_start ? text.data() : nullptr;
  std::vector<std::string_view> current{text}, next;
  for (const Stage& stage : stages_) {
    next.clear();
    for (std::string_view piece : current) {
      const bool first = piece.data() == start;
      if (auto written = Rewrite(stage, piece, first)) {
        rewritten.push_back(std::move(*written));
        piece = rewritten.back();
        if (first) start = piece.data();
      }
      RunStage(stage, piece, next);
    }
    current.swap(next);
  }
  pieces.insert(pieces.end(), current.begin(), current.end());
}

std::string PreTokenizer::Describe(const Stage& stage) {
  if (const auto* scanner = std::get_if<ScannerKind>(&stage))
    return fmt::format(";scan {}", static_cast<int>(*scanner));
  if (const auto* digits = std::get_if<DigitsStage>(&stage))
    return fmt::format(";digits {}", digits->individual);
  if (const auto* chars = std::get_if<ClassStage>(&stage)) {
    return fmt::format(";class {} {}", static_cast<int>(chars->kind), static_cast<int>(chars->behavior));
  }
  if (const auto* pattern = std::get_if<std::unique_ptr<const PatternStage>>(&stage)) {
    return fmt::format(";split {} {} {} {}", (*pattern)->regex.has_value(),
                       static_cast<int>((*pattern)->behavior), (*pattern)->invert, (*pattern)->pattern);
  }
  if (const auto* fixed = std::get_if<FixedLengthStage>(&stage))
    return fmt::format(";fixed {}", fixed->num_chars);
  if (const auto* metaspace = std::get_if<std::unique_ptr<const MetaspaceStage>>(&stage)) {
    return fmt::format(";metaspace {} {}", (*metaspace)->replacement,
                       static_cast<int>((*metaspace)->prepend));
  }
  return fmt::format(";plain {}", static_cast<int>(std::get<PlainStage>(stage)));
}

std::string PreTokenizer::Description() const {
  // A first step that writes the text anew has its own place, as in the fingerprints that are in older files.
  const bool prefix = !stages_.empty() && Is(stages_[0], PlainStage::kPrefixSpace);
  const auto* metaspace =
      stages_.empty() ? nullptr : std::get_if<std::unique_ptr<const MetaspaceStage>>(&stages_[0]);
  std::string text = fmt::format("bytes={} prefix={} metaspace={} prepend={}", bytes_, prefix,
                                 metaspace != nullptr ? (*metaspace)->replacement : "",
                                 metaspace != nullptr ? static_cast<int>((*metaspace)->prepend) : 0);
  for (size_t i = prefix || metaspace != nullptr ? 1 : 0; i < stages_.size(); ++i)
    text += Describe(stages_[i]);
  return text;
}

}  // namespace elrea
