// Prompts as each model family expects them: by a family's rules written out here, or by the model's own
// Jinja template. A family is taken for a model only where its rules give what the model's template gives.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/tokenizer.h"

namespace elrea {

struct ChatMessage {
  std::string role;  // "system", "user" or "assistant"
  std::string content;
};

class JinjaTemplate;

class ChatTemplate {
 public:
  // `name`: "auto", or one of Names(). kInvalidInput for an unknown name, a model's template that is no Jinja
  // or asks for what is not supported (with line and column), or a vocabulary without the tokens that the
  // family needs. The tokenizer must outlive the template. "auto" is the family whose prompts are those of
  // the model's template on trial conversations, else "jinja"; on a model without any template it is "plain".
  static ChatTemplate For(const Tokenizer& tokenizer, const std::string& name);
  //   chatml    no default system prompt (Qwen 3 and most fine-tunes)
  //   smollm2, qwen2, qwen2.5   chatml with that model's default system prompt
  //   gemma     roles user and model; the system text goes before the first user turn
  //   llama3    Llama 3.0; llama3.1 adds the knowledge and date lines of 3.1 to 3.3, dated 26 Jul 2024 as
  //   those say mistral   Mistral Instruct 0.2: no system role plain     for models without a template: the
  //   contents, each on lines of its own; EOS ends the answer
  //   jinja     the model's own template, whatever it is
  static std::vector<std::string> Names();

  const std::string& name() const { return name_; }
  // Equal for equal prompts: the name, and for "jinja" a hash of the source.
  std::string fingerprint() const;
  // The conversation as text, ending where the assistant's answer begins: what Jinja makes of the model's own
  // template with add_generation_prompt. Invalid UTF-8 is repaired as in Tokenizer::Encode. kInvalidInput for
  // roles the family cannot express, an empty conversation, and what the model's template itself refuses.
  std::string RenderPrompt(const std::vector<ChatMessage>& messages) const;
  // Tokens of RenderPrompt, with BOS where the family or the model wants it (once). Control tokens spelled
  // out inside a message count as such, as they do in transformers.
  std::vector<int32_t> EncodePrompt(const std::vector<ChatMessage>& messages) const;
  // The tokens that prompts of one user turn begin with as a rule, whatever the user says: the template's own
  // system prompt, if it has one, and the marks in front. Empty when the template refuses such a prompt.
  std::vector<int32_t> Beginning() const;
  // Tokens of the answer, ending with the token that ends a turn (it belongs to the loss). Control tokens
  // spelled out in the answer stay text.
  std::vector<int32_t> EncodeResponse(const std::string& response) const;
  // Generation ends at any of these.
  const std::vector<int32_t>& stop_tokens() const { return stop_tokens_; }

 private:
  ChatTemplate() = default;
  void UseFamily(const std::string& name);
  void UseModelTemplate();
  void LearnResponseForm();
  bool AgreesWithModelTemplate(const std::string& family) const;
  std::string RenderModelTemplate(const std::vector<ChatMessage>& messages, bool add_generation_prompt,
                                  std::optional<int64_t> now_s) const;
  std::string TextOf(std::optional<int32_t> token) const;

  const Tokenizer* tokenizer_ = nullptr;
  std::string name_;
  std::shared_ptr<const JinjaTemplate> jinja_;  // of the model, where `name_` is "jinja"; shared by copies
  std::string response_lead_;                   // what that template writes between prompt and answer
  bool strips_response_ = false;
  int32_t turn_end_ = 0;
  std::vector<int32_t> stop_tokens_;  // turn_end_ first
};

}  // namespace elrea
