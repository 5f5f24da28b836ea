// What happens to text before it is cut and merged: Unicode normal forms, replaced strings, prefixes.
// Normal forms are of the Unicode version of the system's utf8proc. Const-shareable.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/json.h"

namespace elrea {

class Normalizer {
 public:
  enum class Step {
    kNfc,
    kNfd,
    kNfkc,
    kNfkd,
    kReplace,             // every `from` becomes `to`
    kPrepend,             // `to` before any text that is not empty
    kPrependUnlessThere,  // ... that does not begin with it
    kPrependToFirst,      // the same, only at the very start of the whole text
    kLowerCase,
    kStripAccents,     // combining marks go
    kStripAccentsNfd,  // BERT's: decomposed first, and only marks without width go
    kCleanText,        // BERT's clean_text
    kSpaceIdeographs,  // BERT's handle_chinese_chars
    kStripLeft,
    kStripRight,
    kNmt,
  };

  void Add(Step step, std::string to = "", std::string from = "") {
    steps_.push_back({step, std::move(to), std::move(from)});
  }
  // null, Sequence, NFC, NFD, NFKC, NFKD, Prepend, Replace with a plain string, BertNormalizer, Lowercase,
  // Strip, StripAccents, Nmt. kInvalidInput for others.
  void AddJson(const SortedJson& section, const std::string& origin);

  bool empty() const { return steps_.empty(); }
  bool prepends() const;  // decoding must take a leading space away
  // `at_start`: `text` begins where the whole text begins. REQUIRES: valid UTF-8.
  std::string Apply(std::string_view text, bool at_start) const;
  std::string Description() const;  // equal for equal behaviour

 private:
  struct Rule {
    Step step;
    std::string to, from;
  };
  static std::string ApplyRule(const Rule& rule, std::string text, bool at_start);
  void AddJsonAt(const SortedJson& section, const std::string& origin, int depth);
  void AddBert(const SortedJson& section, const std::string& origin);
  std::vector<Rule> steps_;
};

}  // namespace elrea
