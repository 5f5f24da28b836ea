// Stages in sequence, each cutting the pieces of the one before.
#include "data/pretokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "core/error.h"
#include "core/text.h"
#include "data/text_classes.h"

namespace elrea {
namespace {

constexpr int kMaxNesting = 8;
constexpr std::string_view kLowLine = "\xE2\x96\x81";  // U+2581

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

constexpr std::pair<const char*, SplitBehavior> kBehaviors[] = {
    {"Isolated", SplitBehavior::kIsolated},
    {"Removed", SplitBehavior::kRemoved},
    {"MergedWithPrevious", SplitBehavior::kMergedWithPrevious},
    {"MergedWithNext", SplitBehavior::kMergedWithNext},
    {"Contiguous", SplitBehavior::kContiguous},
};

SplitBehavior BehaviorNamed(const std::string& name, const std::string& origin) {
  for (const auto& [known, behavior] : kBehaviors) {
    if (name == known) return behavior;
  }
  throw Error(ErrorKind::kInvalidInput, fmt::format("{}: unknown split behavior \"{}\"", origin, name));
}

struct Segment {
  size_t begin, end;
  bool matched;
};

// Matches and the gaps between them, covering the text; with `invert`, the gaps count as matched.
std::vector<Segment> Segments(const std::vector<PreTokenizerRegex::Match>& matches, size_t num_bytes,
                              bool invert) {
  std::vector<Segment> segments;
  size_t pos = 0;
  for (const auto& match : matches) {
    if (match.begin > pos) segments.push_back({pos, match.begin, invert});
    segments.push_back({match.begin, match.end, !invert});
    pos = match.end;
  }
  if (pos < num_bytes) segments.push_back({pos, num_bytes, invert});
  return segments;
}

// A matched segment joins its neighbour unless that neighbour is itself a match that was just joined; so a
// run of matches joins one by one only at its near end, as the tokenizers library does it.
std::vector<Segment> MergeWithPrevious(const std::vector<Segment>& segments) {
  std::vector<Segment> merged;
  bool previous_matched = false;
  for (const Segment& segment : segments) {
    if (segment.matched && !previous_matched && !merged.empty()) {
      merged.back().end = segment.end;
    } else {
      merged.push_back(segment);
    }
    previous_matched = segment.matched;
  }
  return merged;
}

std::vector<Segment> MergeWithNext(const std::vector<Segment>& segments) {
  std::vector<Segment> merged;
  bool previous_matched = false;
  for (auto segment = segments.rbegin(); segment != segments.rend(); ++segment) {
    if (segment->matched && !previous_matched && !merged.empty()) {
      merged.back().begin = segment->begin;
    } else {
      merged.push_back(*segment);
    }
    previous_matched = segment->matched;
  }
  std::reverse(merged.begin(), merged.end());
  return merged;
}

std::vector<Segment> MergeContiguous(const std::vector<Segment>& segments) {
  std::vector<Segment> merged;
  for (const Segment& segment : segments) {
    if (!merged.empty() && merged.back().matched == segment.matched) {
      merged.back().end = segment.end;
    } else {
      merged.push_back(segment);
    }
  }
  return merged;
}

std::vector<Segment> ApplyBehavior(SplitBehavior behavior, std::vector<Segment> segments) {
  switch (behavior) {
    case SplitBehavior::kMergedWithPrevious:
      return MergeWithPrevious(segments);
    case SplitBehavior::kMergedWithNext:
      return MergeWithNext(segments);
    case SplitBehavior::kContiguous:
      return MergeContiguous(segments);
    case SplitBehavior::kRemoved:
      std::erase_if(segments, [](const Segment& segment) { return segment.matched; });
      return segments;
    case SplitBehavior::kIsolated:
      return segments;
  }
  return segments;
}

void PushSegments(std::string_view text, SplitBehavior behavior, std::vector<Segment> segments,
                  std::vector<std::string_view>& pieces) {
  for (const Segment& segment : ApplyBehavior(behavior, std::move(segments))) {
    pieces.push_back(text.substr(segment.begin, segment.end - segment.begin));
  }
}

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

}  // namespace

PreTokenizer PreTokenizer::FromGgufName(const std::string& name, const std::string& origin) {
  std::vector<std::string> known;
  for (const GgufName& entry : kGgufNames) {
    if (name == entry.name) {
      PreTokenizer made(entry.kind);
      made.rules_.byte_level = true;
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

PreTokenizer PreTokenizer::FromJson(const SortedJson& section, const std::string& origin) {
  PreTokenizer made;
  if (!section.is_null()) made.AddJson(section, origin, 0);
  // Digits one by one and then the GPT-2 expression: one scanner does both in a single pass.
  for (size_t i = 0; i + 1 < made.stages_.size(); ++i) {
    const auto* digits = std::get_if<DigitsStage>(&made.stages_[i]);
    auto* scanner = std::get_if<ScannerKind>(&made.stages_[i + 1]);
    if (digits != nullptr && digits->individual && scanner != nullptr && *scanner == ScannerKind::kGpt2) {
      *scanner = ScannerKind::kSmolLm;
      made.stages_.erase(made.stages_.begin() + static_cast<std::ptrdiff_t>(i));
    }
  }
  return made;
}

void PreTokenizer::AddJson(const SortedJson& section, const std::string& origin, int depth) {
  const auto type = JsonField<std::string>(section, "type", origin + ": pre_tokenizer");
  const std::string here = origin + ": pre_tokenizer " + type;
  if (type == "Sequence" && depth < kMaxNesting) {
    for (const SortedJson& part : JsonField<SortedJson>(section, "pretokenizers", here)) {
      AddJson(part, origin, depth + 1);
    }
  } else if (type == "Split") {
    AddSplit(section, here);
  } else if (type == "Digits") {
    stages_.push_back(DigitsStage{JsonFieldOr<bool>(section, "individual_digits", false, here)});
  } else if (type == "ByteLevel") {
    AddByteLevel(section, here);
  } else if (type == "Metaspace") {
    AddMetaspace(section, here);
  } else if (!AddClasses(type, section, here)) {
    throw Error(ErrorKind::kInvalidInput,
                fmt::format("{} is not supported (Sequence, Split, Digits, ByteLevel, Metaspace, "
                            "BertPreTokenizer, Whitespace, WhitespaceSplit, Punctuation and "
                            "CharDelimiterSplit are)",
                            here));
  }
}

bool PreTokenizer::AddClasses(const std::string& type, const SortedJson& section, const std::string& origin) {
  using Kind = ClassStage::Kind;
  if (type == "WhitespaceSplit" || type == "Whitespace" || type == "BertPreTokenizer") {
    stages_.push_back(ClassStage{Kind::kSpace, SplitBehavior::kRemoved});
  }
  if (type == "WhitespaceSplit") return true;
  if (type == "Whitespace") {
    stages_.push_back(ClassStage{Kind::kWord, SplitBehavior::kContiguous});
  } else if (type == "BertPreTokenizer") {
    stages_.push_back(ClassStage{Kind::kPunctuation, SplitBehavior::kIsolated});
  } else if (type == "Punctuation") {
    const auto behavior = JsonFieldOr<std::string>(section, "behavior", "Isolated", origin);
    stages_.push_back(ClassStage{Kind::kPunctuation, BehaviorNamed(behavior, origin)});
  } else if (type == "CharDelimiterSplit") {
    const auto delimiter = JsonField<std::string>(section, "delimiter", origin);
    stages_.push_back(std::make_unique<PatternStage>(
        PatternStage{delimiter, std::nullopt, SplitBehavior::kRemoved, false}));
  } else {
    return false;
  }
  return true;
}

void PreTokenizer::AddSplit(const SortedJson& section, const std::string& origin) {
  const auto pattern = JsonField<SortedJson>(section, "pattern", origin);
  const bool is_regex = pattern.is_object() && pattern.contains("Regex");
  const auto text = JsonField<std::string>(pattern, is_regex ? "Regex" : "String", origin);
  const SplitBehavior behavior = BehaviorNamed(JsonField<std::string>(section, "behavior", origin), origin);
  const bool invert = JsonFieldOr<bool>(section, "invert", false, origin);
  const auto scanner = is_regex ? ScannerFor(text) : std::nullopt;
  // A scanner's pieces are the matches and cover the text, so inverting or joining would mean something else.
  if (scanner && behavior == SplitBehavior::kIsolated) {
    stages_.push_back(*scanner);
    return;
  }
  auto stage = std::make_unique<PatternStage>(PatternStage{text, std::nullopt, behavior, invert});
  if (is_regex) stage->regex.emplace(text, origin);
  stages_.push_back(std::move(stage));
}

void PreTokenizer::AddByteLevel(const SortedJson& section, const std::string& origin) {
  rules_.byte_level = true;
  rules_.add_prefix_space |= JsonFieldOr<bool>(section, "add_prefix_space", true, origin);
  if (JsonFieldOr<bool>(section, "use_regex", true, origin)) {
    stages_.push_back(ScannerKind::kGpt2);
  }
}

void PreTokenizer::AddMetaspace(const SortedJson& section, const std::string& origin) {
  rules_.metaspace = JsonFieldOr<std::string>(section, "replacement", std::string(kLowLine), origin);
  // Files from before prepend_scheme say add_prefix_space.
  const bool prefix = JsonFieldOr<bool>(section, "add_prefix_space", true, origin);
  const auto scheme =
      JsonFieldOr<std::string>(section, "prepend_scheme", prefix ? "always" : "never", origin);
  if (scheme != "always" && scheme != "first" && scheme != "never") {
    throw Error(ErrorKind::kInvalidInput, fmt::format("{}: unknown prepend_scheme \"{}\"", origin, scheme));
  }
  rules_.prepend = scheme == "always"  ? TextRules::Prepend::kAlways
                   : scheme == "first" ? TextRules::Prepend::kFirst
                                       : TextRules::Prepend::kNever;
  if (JsonFieldOr<bool>(section, "split", true, origin)) {
    stages_.push_back(std::make_unique<PatternStage>(
        PatternStage{rules_.metaspace, std::nullopt, SplitBehavior::kMergedWithNext, false}));
  }
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
    PushSegments(text, chars->behavior, Segments(chars->Find(text), text.size(), false), pieces);
  } else {
    const PatternStage& pattern = *std::get<std::unique_ptr<const PatternStage>>(stage);
    PushSegments(text, pattern.behavior, Segments(pattern.Find(text), text.size(), pattern.invert), pieces);
  }
}

void PreTokenizer::Split(std::string_view text, std::vector<std::string_view>& pieces) const {
  if (text.empty()) return;
  if (stages_.size() == 1) {
    RunStage(stages_[0], text, pieces);
    return;
  }
  std::vector<std::string_view> current{text}, next;
  for (const Stage& stage : stages_) {
    next.clear();
    for (const std::string_view piece : current) RunStage(stage, piece, next);
    current.swap(next);
  }
  pieces.insert(pieces.end(), current.begin(), current.end());
}

std::string PreTokenizer::Description() const {
  std::string text = fmt::format("bytes={} prefix={} metaspace={} prepend={}", rules_.byte_level,
                                 rules_.add_prefix_space, rules_.metaspace, static_cast<int>(rules_.prepend));
  for (const Stage& stage : stages_) {
    if (const auto* scanner = std::get_if<ScannerKind>(&stage)) {
      text += fmt::format(";scan {}", static_cast<int>(*scanner));
    } else if (const auto* digits = std::get_if<DigitsStage>(&stage)) {
      text += fmt::format(";digits {}", digits->individual);
    } else if (const auto* chars = std::get_if<ClassStage>(&stage)) {
      text += fmt::format(";class {} {}", static_cast<int>(chars->kind), static_cast<int>(chars->behavior));
    } else {
      const PatternStage& pattern = *std::get<std::unique_ptr<const PatternStage>>(stage);
      text += fmt::format(";split {} {} {} {}", pattern.regex.has_value(), static_cast<int>(pattern.behavior),
                          pattern.invert, pattern.pattern);
    }
  }
  return text;
}

}  // namespace elrea
