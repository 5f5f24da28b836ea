// Prompts as each model family expects them. A family is detected from the model's own Jinja template or chosen by
// name; an unknown template is an error that says how to choose one.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/tokenizer.h"

namespace elrea {

struct ChatMessage {
  std::string role;  // "system", "user" or "assistant"
  std::string content;
};

class ChatTemplate {
 public:
  // `name`: "auto" (detect), or one of Names(). kInvalidInput for an unknown name or an undetectable template.
  // "auto" on a model without any template is "plain".
  static ChatTemplate For(const Tokenizer& tokenizer, const std::string& name);
  static std::vector<std::string> Names();  // "chatml", "smollm2", "gemma", "llama3", "plain", ...

  const std::string& name() const { return name_; }
  // The conversation as text, ending where the assistant's answer begins.
  // kInvalidInput for roles the family cannot express or an empty conversation.
  std::string RenderPrompt(const std::vector<ChatMessage>& messages) const;
  // Tokens of RenderPrompt, with BOS where the family or the model wants it (once).
  std::vector<int32_t> EncodePrompt(const std::vector<ChatMessage>& messages) const;
  // Tokens of the answer, ending with the token that ends a turn (it belongs to the loss).
  std::vector<int32_t> EncodeResponse(const std::string& response) const;
  // Generation ends at any of these.
  const std::vector<int32_t>& stop_tokens() const { return stop_tokens_; }

 private:
  const Tokenizer* tokenizer_ = nullptr;
  std::string name_;
  std::vector<int32_t> stop_tokens_;
};

}  // namespace elrea
