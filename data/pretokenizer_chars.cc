// Expands the generated ranges into flat tables.
#include "data/pretokenizer_chars.h"

#include <algorithm>
#include <vector>

#include "data/text_classes.h"

namespace elrea {
namespace {

std::vector<uint8_t> Expand(std::span<const CharRange> ranges) {
  std::vector<uint8_t> classes(0x110000, 0);
  for (const CharRange& range : ranges) {
    std::fill(classes.begin() + range.first, classes.begin() + range.last + 1, range.classes);
  }
  return classes;
}

}  // namespace

const uint8_t* CharClassTable() {
  static const std::vector<uint8_t> table = Expand(CharRanges());
  return table.data();
}

const uint8_t* TextClassTable() {
  static const std::vector<uint8_t> table = Expand(TextRanges());
  return table.data();
}

const uint8_t* ScriptTable() {
  static const std::vector<uint8_t> table = Expand(ScriptRanges());
  return table.data();
}

}  // namespace elrea
