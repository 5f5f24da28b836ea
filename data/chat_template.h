// Prompts as each model family expects them. A family is detected from the model's own Jinja template or
// chosen by name; an unknown template is an error that says how to choose one.
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
  // `name`: "auto" (detect), or one of Names(). kInvalidInput for an unknown name, an undetectable template,
  // or a vocabulary without the tokens that the family needs. The tokenizer must outlive the template. "auto"
  // on a model without any template is "plain".
  static ChatTemplate For(const Tokenizer& tokenizer, const std::string& name);
  //   chatml    no default system prompt (Qwen 3 and most fine-tunes)
  //   smollm2, qwen2, qwen2.5   chatml with that model's default system prompt
  //   gemma     roles user and model; the system text goes before the first user turn
  //   llama3    Llama 3.0; llama3.1 adds the knowledge and date lines of 3.1 to 3.3, dated 26 Jul 2024 as
  //   those say mistral   Mistral Instruct 0.2: no system role plain     for models without a template: the
  //   contents, each on lines of its own; EOS ends the answer
  static std::vector<std::string> Names();

  const std::string& name() const { return name_; }
  // The conversation as text, ending where the assistant's answer begins: what Jinja makes of the model's own
  // template with add_generation_prompt. Invalid UTF-8 is repaired as in Tokenizer::Encode. kInvalidInput for
  // roles the family cannot express or an empty conversation.
  std::string RenderPrompt(const std::vector<ChatMessage>& messages) const;
  // Tokens of RenderPrompt, with BOS where the family or the model wants it (once). Control tokens spelled
  // out inside a message count as such, as they do in transformers.
  std::vector<int32_t> EncodePrompt(const std::vector<ChatMessage>& messages) const;
  // Tokens of the answer, ending with the token that ends a turn (it belongs to the loss). Control tokens
  // spelled out in the answer stay text.
  std::vector<int32_t> EncodeResponse(const std::string& response) const;
  // Generation ends at any of these.
  const std::vector<int32_t>& stop_tokens() const { return stop_tokens_; }

 private:
  const Tokenizer* tokenizer_ = nullptr;
  std::string name_;
  int32_t turn_end_ = 0;
  std::vector<int32_t> stop_tokens_;  // turn_end_ first
};

}  // namespace elrea
