// The "pre_tokenizer" section of a tokenizer.json.
#include <fmt/format.h>

#include <utility>

#include "core/error.h"
#include "data/pretokenizer.h"

namespace elrea {
namespace {

constexpr int kMaxNesting = 8;
constexpr std::string_view kLowLine = "\xE2\x96\x81";  // U+2581

}  // namespace

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
  } else if (type == "UnicodeScripts") {
    stages_.push_back(PlainStage::kScripts);
  } else if (type == "FixedLength") {
    const auto length = JsonField<int64_t>(section, "length", here);
    if (length < 1)
      throw Error(ErrorKind::kCorrupt, fmt::format("{}: length is {}, not positive", here, length));
    stages_.push_back(FixedLengthStage{length});
  } else if (!AddClasses(type, section, here)) {
    throw Error(
        ErrorKind::kInvalidInput,
        fmt::format("{} is not supported (Sequence, Split, Digits, ByteLevel, Metaspace, BertPreTokenizer, "
                    "Whitespace, WhitespaceSplit, Punctuation, CharDelimiterSplit, UnicodeScripts and "
                    "FixedLength are)",
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
  if (JsonFieldOr<bool>(section, "add_prefix_space", true, origin))
    stages_.push_back(PlainStage::kPrefixSpace);
  if (JsonFieldOr<bool>(section, "use_regex", true, origin)) stages_.push_back(ScannerKind::kGpt2);
  stages_.push_back(PlainStage::kByteAlphabet);
}

void PreTokenizer::AddMetaspace(const SortedJson& section, const std::string& origin) {
  using Prepend = MetaspaceStage::Prepend;
  const auto replacement = JsonFieldOr<std::string>(section, "replacement", std::string(kLowLine), origin);
  // Files from before prepend_scheme say add_prefix_space.
  const bool prefix = JsonFieldOr<bool>(section, "add_prefix_space", true, origin);
  const auto scheme =
      JsonFieldOr<std::string>(section, "prepend_scheme", prefix ? "always" : "never", origin);
  if (scheme != "always" && scheme != "first" && scheme != "never") {
    throw Error(ErrorKind::kInvalidInput, fmt::format("{}: unknown prepend_scheme \"{}\"", origin, scheme));
  }
  const Prepend prepend = scheme == "always"  ? Prepend::kAlways
                          : scheme == "first" ? Prepend::kFirst
                                              : Prepend::kNever;
  stages_.push_back(std::make_unique<MetaspaceStage>(MetaspaceStage{replacement, prepend}));
  if (JsonFieldOr<bool>(section, "split", true, origin)) {
    stages_.push_back(std::make_unique<PatternStage>(
        PatternStage{replacement, std::nullopt, SplitBehavior::kMergedWithNext, false}));
  }
}

}  // namespace elrea
