// Expands the generated ranges into a flat table.
#include "data/pretokenizer_chars.h"

#include <algorithm>
#include <vector>

namespace elrea {

const uint8_t* CharClassTable() {
  static const std::vector<uint8_t> table = [] {
    std::vector<uint8_t> classes(0x110000, 0);
    for (const CharRange& range : CharRanges()) {
      std::fill(classes.begin() + range.first, classes.begin() + range.last + 1, range.classes);
    }
    return classes;
  }();
  return table.data();
}

}  // namespace elrea
