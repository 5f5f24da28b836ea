// What becomes of the parts of a text that a pattern matches, and of those between them.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "data/pretokenizer_regex.h"

namespace elrea {

// Names as in tokenizer.json.
enum class SplitBehavior { kIsolated, kRemoved, kMergedWithPrevious, kMergedWithNext, kContiguous };

// kInvalidInput for a name we do not know; `origin` is named.
SplitBehavior BehaviorNamed(const std::string& name, const std::string& origin);

// Appends the pieces of `text`. With `invert` the gaps between the matches count as matched.
void PushPieces(std::string_view text, const std::vector<PreTokenizerRegex::Match>& matches,
                SplitBehavior behavior, bool invert, std::vector<std::string_view>& pieces);

}  // namespace elrea
