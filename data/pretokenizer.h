// Cuts text into the pieces within which BPE may merge. Chosen by a GGUF's tokenizer.ggml.pre or by the
// pre_tokenizer section of a tokenizer.json. Const-shareable, move-only.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/json.h"
#include "data/pretokenizer_regex.h"
#include "data/pretokenizer_scanner.h"

namespace elrea {

// What becomes of the parts that a pattern matches; names as in tokenizer.json.
enum class SplitBehavior { kIsolated, kRemoved, kMergedWithPrevious, kMergedWithNext, kContiguous };

class PreTokenizer {
 public:
  PreTokenizer() = default;  // the whole text is one piece
  explicit PreTokenizer(ScannerKind kind) { stages_.push_back(kind); }

  // kInvalidInput for a name we do not know, with those we do. Names as llama.cpp writes them.
  static PreTokenizer FromGgufName(const std::string& name, const std::string& origin);
  // Sequence, Split, Digits, ByteLevel, Metaspace, BertPreTokenizer, Whitespace, WhitespaceSplit,
  // Punctuation, CharDelimiterSplit. kInvalidInput for another type; kCorrupt for a malformed section.
  static PreTokenizer FromJson(const SortedJson& section, const std::string& origin);

  // Appends the pieces of `text`, in order. REQUIRES: valid UTF-8.
  void Split(std::string_view text, std::vector<std::string_view>& pieces) const;

  // Facts that a tokenizer.json hides in this section but which concern the text before it is cut.
  struct TextRules {
    bool byte_level = false;        // the vocabulary is written in the byte alphabet
    bool add_prefix_space = false;  // ByteLevel: a space before a text that does not begin with one
    std::string metaspace;          // Metaspace: what stands for a space; empty when there is none
    enum class Prepend { kNever, kFirst, kAlways } prepend = Prepend::kNever;  // Metaspace's prepend_scheme
  };
  const TextRules& rules() const { return rules_; }
  // Equal for equal behaviour; part of the tokenizer's fingerprint.
  std::string Description() const;

 private:
  struct DigitsStage {
    bool individual;
  };
  // Every character of a class is a match.
  struct ClassStage {
    enum class Kind { kSpace, kPunctuation, kWord } kind;
    SplitBehavior behavior;
    std::vector<PreTokenizerRegex::Match> Find(std::string_view text) const;
  };
  struct PatternStage {
    std::string pattern;
    std::optional<PreTokenizerRegex> regex;  // none for a plain string
    SplitBehavior behavior;
    bool invert;
    std::vector<PreTokenizerRegex::Match> Find(std::string_view text) const;
  };
  using Stage = std::variant<ScannerKind, DigitsStage, ClassStage, std::unique_ptr<const PatternStage>>;

  void AddJson(const SortedJson& section, const std::string& origin, int depth);
  // Adds the stages of a type that cuts by classes of characters; false for another type.
  bool AddClasses(const std::string& type, const SortedJson& section, const std::string& origin);
  void AddSplit(const SortedJson& section, const std::string& origin);
  void AddByteLevel(const SortedJson& section, const std::string& origin);
  void AddMetaspace(const SortedJson& section, const std::string& origin);
  static void RunStage(const Stage& stage, std::string_view text, std::vector<std::string_view>& pieces);

  std::vector<Stage> stages_;
  TextRules rules_;
};

}  // namespace elrea
