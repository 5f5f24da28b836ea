// Cuts text into the pieces within which a model looks for tokens. Chosen by a GGUF's tokenizer.ggml.pre or
// by the pre_tokenizer section of a tokenizer.json. Const-shareable, move-only.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/json.h"
#include "data/pretokenizer_regex.h"
#include "data/pretokenizer_scanner.h"
#include "data/pretokenizer_segments.h"

namespace elrea {

class PreTokenizer {
 public:
  PreTokenizer() = default;  // the whole text is one piece
  explicit PreTokenizer(ScannerKind kind) { stages_.push_back(kind); }

  // kInvalidInput for a name we do not know, with those we do. Names as llama.cpp writes them.
  static PreTokenizer FromGgufName(const std::string& name, const std::string& origin);
  // Every pre-tokeniser of the `tokenizers` library. kInvalidInput for another type; kCorrupt for a malformed
  // section.
  static PreTokenizer FromJson(const SortedJson& section, const std::string& origin);

  // Appends the pieces of `text`, in order; those of a text that a stage had to write anew point into
  // `rewritten`. `at_start`: `text` begins where the whole text begins. REQUIRES: valid UTF-8.
  void Split(std::string_view text, bool at_start, std::vector<std::string_view>& pieces,
             std::deque<std::string>& rewritten) const;

  // Whether the last step spells bytes in GPT-2's alphabet and no other does. If so it is taken away: pieces
  // are then the bytes themselves, for a model that knows what they are spelled as.
  bool TakeByteAlphabet();

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
  struct FixedLengthStage {
    int64_t num_chars;
  };
  struct MetaspaceStage {
    std::string replacement;  // of spaces
    enum class Prepend { kNever, kFirst, kAlways } prepend;
  };
  enum class PlainStage {
    kScripts,       // cuts where the script changes
    kPrefixSpace,   // writes a space before a piece that does not begin with one
    kByteAlphabet,  // spells bytes in GPT-2's alphabet
  };
  using Stage = std::variant<ScannerKind, DigitsStage, ClassStage, std::unique_ptr<const PatternStage>,
                             FixedLengthStage, std::unique_ptr<const MetaspaceStage>, PlainStage>;

  void AddJson(const SortedJson& section, const std::string& origin, int depth);
  // Adds the stages of a type that cuts by classes of characters; false for another type.
  bool AddClasses(const std::string& type, const SortedJson& section, const std::string& origin);
  void AddSplit(const SortedJson& section, const std::string& origin);
  void AddByteLevel(const SortedJson& section, const std::string& origin);
  void AddMetaspace(const SortedJson& section, const std::string& origin);
  static bool Is(const Stage& stage, PlainStage plain);
  static std::string Describe(const Stage& stage);
  static void RunStage(const Stage& stage, std::string_view text, std::vector<std::string_view>& pieces);
  // The text that a stage puts in the place of `text`; nullopt where it stays. `first`: nothing is before it.
  static std::optional<std::string> Rewrite(const Stage& stage, std::string_view text, bool first);

  std::vector<Stage> stages_;
  bool bytes_ = false;  // pieces are bytes that the vocabulary spells in GPT-2's alphabet
};

}  // namespace elrea
