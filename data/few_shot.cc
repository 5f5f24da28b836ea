#include "data/few_shot.h"

namespace elrea {

std::vector<ChatMessage> WithExamples(const EvalRecord& record, size_t num_examples) {
  std::vector<ChatMessage> messages = record.messages;
  std::string before;
  if (!record.description.empty()) before += record.description + "\n\n";
  for (size_t i = 0; i < num_examples; ++i) before += record.examples[i] + "\n\n";
  for (auto message = messages.rbegin(); message != messages.rend(); ++message) {
    if (message->role != "user") continue;
    message->content = before + message->content;
    break;
  }
  return messages;
}

FittedPrompt FitExamples(const EvalRecord& record, const ChatTemplate& chat, int64_t max_tokens) {
  for (size_t shown = record.examples.size();; --shown) {
    std::vector<int32_t> tokens = chat.EncodePrompt(WithExamples(record, shown));
    if (shown == 0 || max_tokens == 0 || static_cast<int64_t>(tokens.size()) <= max_tokens)
      return {std::move(tokens), static_cast<int64_t>(shown)};
  }
}

}  // namespace elrea
