// What happens to text before it is cut and merged: Unicode normal forms, replaced strings, prefixes.
// Normal forms are those of the tokenizers library's Unicode version, by way of utf8proc. Const-shareable.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.h"

namespace elrea {

// A step with tables of its own. Const-shareable.
class TextTransform {
 public:
  virtual ~TextTransform() = default;
  virtual std::string Apply(std::string_view text) const = 0;  // REQUIRES: valid UTF-8
  virtual std::string Description() const = 0;                 // equal for equal behaviour
};

class Normalizer {
 public:
  enum class Step {  // numbers are part of fingerprints: they stay
    kNfc,
    kNfd,
    kNfkc,
    kNfkd,
    kReplace,  // every `from` becomes `to`
    kPrepend,  // `to` before any text that is not empty
    kLowerCase = 8,
    kStripAccents,     // combining marks go
    kStripAccentsNfd,  // BERT's: decomposed first, and only marks without width go
    kCleanText,        // BERT's clean_text
    kSpaceIdeographs,  // BERT's handle_chinese_chars
    kStripLeft,
    kStripRight,
    kNmt,
    kByteAlphabet,  // bytes are spelled in GPT-2's alphabet
    kTransform,     // what a TextTransform does
  };

  void Add(Step step, std::string to = "", std::string from = "") {
    steps_.push_back({step, std::move(to), std::move(from), nullptr});
  }
  void Add(std::shared_ptr<const TextTransform> transform) {
    steps_.push_back({Step::kTransform, "", "", std::move(transform)});
  }
  // null and every normaliser of the `tokenizers` library. kInvalidInput for others.
  void AddJson(const SortedJson& section, const std::string& origin);

  bool empty() const { return steps_.empty(); }
  std::string Apply(std::string_view text) const;  // REQUIRES: valid UTF-8
  std::string Description() const;                 // equal for equal behaviour

 private:
  struct Rule {
    Step step;
    std::string to, from;
    std::shared_ptr<const TextTransform> transform;
  };
  static std::string ApplyRule(const Rule& rule, std::string text);
  void AddJsonAt(const SortedJson& section, const std::string& origin, int depth);
  void AddReplace(const SortedJson& section, const std::string& origin);
  void AddBert(const SortedJson& section, const std::string& origin);
  std::vector<Rule> steps_;
};

}  // namespace elrea
