// Prompts of rows with worked examples: the description, the examples and the question as one message, with
// as many examples as a limit of tokens allows (method section 7: examples are dropped until the instruction
// fits).
#pragma once

#include <cstdint>
#include <vector>

#include "data/chat_template.h"
#include "data/records.h"

namespace elrea {

struct FittedPrompt {
  std::vector<int32_t> tokens;
  int64_t num_examples = 0;  // shown
};

// The record's conversation with its description and its first `num_examples` examples before the last user
// message's text, parted by blank lines. REQUIRES: num_examples <= record.examples.size().
std::vector<ChatMessage> WithExamples(const EvalRecord& record, size_t num_examples);

// With all examples, or the first of them with which the prompt has at most `max_tokens` tokens, the chat
// template's own counted; with none where even one is too many, whatever the length then. 0: no limit.
FittedPrompt FitExamples(const EvalRecord& record, const ChatTemplate& chat, int64_t max_tokens);

}  // namespace elrea
