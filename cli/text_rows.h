// Plain texts as input of tokenize and score: --text once, or the lines {"text": ...} of a file.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "data/tokenizer.h"

namespace CLI {
class App;
}

namespace elrea {

// Declares --text and --input, one of which must be given.
void AddTextFlags(CLI::App& command, std::string& text, std::string& input);

// Invalid UTF-8 becomes U+FFFD. kInvalidInput naming file and line for a line that has no text, for an empty
// file, and when neither option was given.
void ForEachText(const std::string& text, const std::string& input,
                 const std::function<void(const std::string&)>& visit);

// kInvalidInput for a tokenizer that has none.
int32_t RequireBos(const Tokenizer& tokenizer);

}  // namespace elrea
