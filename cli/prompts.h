// Prompts from the command line or a file, as tokens.
#pragma once

#include <string>
#include <vector>

#include "cli/backbone.h"

namespace CLI {
class App;
}

namespace elrea {

struct PromptFlags {
  std::string prompt, input;
  bool raw = false;
};
// Declares --prompt, --input and --raw.
void AddPromptFlags(CLI::App& command, PromptFlags& flags);

struct Prompt {
  std::vector<ChatMessage> messages;
  std::vector<int32_t> tokens;
};

// kInvalidInput when neither a prompt nor a file is given, for an empty prompt, and as of ReadEvalRecords.
// Bad lines of a file are named in a warning.
std::vector<Prompt> LoadPrompts(const PromptFlags& flags, const Backbone& backbone);

// The last message of the user, for output.
const std::string& PromptText(const Prompt& prompt);

}  // namespace elrea
