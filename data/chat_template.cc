// One function per family writes the turns. Detection looks for the strings that only that family's Jinja
// source has.
#include "data/chat_template.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string_view>

#include "core/error.h"
#include "core/text.h"
#include "data/pretokenizer_chars.h"

namespace elrea {
namespace {

using Messages = std::vector<ChatMessage>;

struct Family {
  const char* name;
  const char* turn_end;        // the token that ends a turn; empty for EOS
  const char* also_stops;      // a further token that ends an answer, where the vocabulary has it
  const char* default_system;  // chatml's kinds; empty for none
};
constexpr Family kFamilies[] = {
    {"chatml", "<|im_end|>", "<|endoftext|>", ""},
    {"smollm2", "<|im_end|>", "<|endoftext|>",
     "You are a helpful AI assistant named SmolLM, trained by Hugging Face"},
    {"qwen2", "<|im_end|>", "<|endoftext|>", "You are a helpful assistant."},
    {"qwen2.5", "<|im_end|>", "<|endoftext|>",
     "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."},
    {"gemma", "<end_of_turn>", "<eos>", ""},
    {"llama3", "<|eot_id|>", "<|end_of_text|>", ""},
    {"llama3.1", "<|eot_id|>", "<|end_of_text|>", ""},
    {"mistral", "", "", ""},
    {"plain", "", "", ""},
};

const Family* FindFamily(std::string_view name) {
  const auto* found = std::find_if(std::begin(kFamilies), std::end(kFamilies),
                                   [&](const Family& family) { return name == family.name; });
  return found == std::end(kFamilies) ? nullptr : found;
}

// A family's name, or nothing when the source is none that we render exactly.
std::optional<std::string> Detect(std::string_view source) {
  const auto has = [&](std::string_view text) { return source.find(text) != std::string_view::npos; };
  if (source.empty()) return "plain";
  if (has("<|im_start|>") && !has("<|im_sep|>")) {
    for (const char* name : {"smollm2", "qwen2.5", "qwen2"}) {
      if (has(std::string(FindFamily(name)->default_system) + "<|im_end|>")) return name;
    }
    // Another default system prompt would be lost without a word.
    if (has("system\nYou are") || has("system\\nYou are")) return std::nullopt;
    return "chatml";
  }
  if (has("<start_of_turn>")) return "gemma";
  if (has("<|start_header_id|>")) return has("Cutting Knowledge Date") ? "llama3.1" : "llama3";
  if (has("'[INST] ' + message['content'] + ' [/INST]'") && has("message['content'] + eos_token}"))
    return "mistral";
  return std::nullopt;
}

[[noreturn]] void ThrowInvalid(const std::string& text) { throw Error(ErrorKind::kInvalidInput, text); }

std::string HowToChoose() {
  return fmt::format("choose one of {} with --set data.chat_template=NAME",
                     Join(ChatTemplate::Names(), ", "));
}

// Python's str.strip, which is Jinja's trim: all of Unicode's white space and four control characters.
std::string_view Strip(std::string_view text) {
  const auto is_space = [&](size_t pos) {
    const char32_t code = CharAt(text, pos).code;
    return (CharClassTable()[code] & kSpaceChar) != 0 || (code >= 0x1C && code <= 0x1F);
  };
  while (!text.empty() && is_space(0)) text.remove_prefix(CharAt(text, 0).num_bytes);
  while (!text.empty()) {
    size_t last = text.size() - 1;
    while ((static_cast<unsigned char>(text[last]) & 0xC0) == 0x80) --last;
    if (!is_space(last)) break;
    text = text.substr(0, last);
  }
  return text;
}

void RequireAlternation(const Messages& messages, size_t first, const std::string& family) {
  for (size_t i = first; i < messages.size(); ++i) {
    const char* expected = (i - first) % 2 == 0 ? "user" : "assistant";
    if (messages[i].role != expected) {
      ThrowInvalid(
          fmt::format("message {} has the role \"{}\", but the template {} wants turns of user and assistant "
                      "in alternation{}",
                      i + 1, messages[i].role, family,
                      family == "mistral" ? " and no system text: put it into the first user turn" : ""));
    }
  }
  if (first >= messages.size()) ThrowInvalid(fmt::format("the template {} needs a user turn", family));
}

std::string RenderChatml(const Messages& messages, std::string_view default_system) {
  std::string text;
  if (!default_system.empty() && messages[0].role != "system") {
    text = fmt::format("<|im_start|>system\n{}<|im_end|>\n", default_system);
  }
  for (const ChatMessage& message : messages) {
    text += fmt::format("<|im_start|>{}\n{}<|im_end|>\n", message.role, message.content);
  }
  return text + "<|im_start|>assistant\n";
}

std::string RenderGemma(const Messages& messages, const std::string& bos) {
  const size_t first = messages[0].role == "system" ? 1 : 0;
  RequireAlternation(messages, first, "gemma");
  std::string text = bos;
  for (size_t i = first; i < messages.size(); ++i) {
    text += fmt::format("<start_of_turn>{}\n", messages[i].role == "assistant" ? "model" : "user");
    if (i == 1 && first == 1) text += messages[0].content + "\n\n";
    text += fmt::format("{}<end_of_turn>\n", Strip(messages[i].content));
  }
  return text + "<start_of_turn>model\n";
}

std::string Llama3Turn(std::string_view role, std::string_view content) {
  return fmt::format("<|start_header_id|>{}<|end_header_id|>\n\n{}<|eot_id|>", role, content);
}

std::string RenderLlama3(const Messages& messages, const std::string& bos, bool with_dates) {
  std::string text = bos;
  size_t first = 0;
  if (with_dates) {
    const bool has_system = messages[0].role == "system";
    const std::string_view system = has_system ? Strip(messages[0].content) : "";
    text += Llama3Turn(
        "system",
        fmt::format("Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n{}", system));
    first = has_system ? 1 : 0;
  }
  for (size_t i = first; i < messages.size(); ++i) {
    text += Llama3Turn(messages[i].role, Strip(messages[i].content));
  }
  return text + "<|start_header_id|>assistant<|end_header_id|>\n\n";
}

std::string RenderMistral(const Messages& messages, const std::string& bos, const std::string& eos) {
  RequireAlternation(messages, 0, "mistral");
  std::string text = bos;
  for (const ChatMessage& message : messages) {
    text +=
        message.role == "user" ? fmt::format("[INST] {} [/INST]", message.content) : message.content + eos;
  }
  return text;
}

std::string RenderPlain(const Messages& messages) {
  std::string text;
  for (const ChatMessage& message : messages) text += message.content + "\n";
  return text;
}

void CheckMessages(const Messages& messages) {
  if (messages.empty()) ThrowInvalid("the conversation has no messages; give at least one user turn");
  for (const ChatMessage& message : messages) {
    if (message.role != "system" && message.role != "user" && message.role != "assistant") {
      ThrowInvalid(fmt::format("unknown role \"{}\"; the roles are system, user and assistant",
                               ReplaceInvalidUtf8(message.role)));
    }
  }
}

int32_t TurnEnd(const Tokenizer& tokenizer, const Family& family) {
  const bool by_eos = *family.turn_end == '\0';
  const auto token = by_eos ? tokenizer.eos() : tokenizer.FindToken(family.turn_end);
  if (!token) {
    ThrowInvalid(fmt::format("the vocabulary has no {} token, which the chat template {} needs; {}",
                             by_eos ? "EOS" : family.turn_end, family.name, HowToChoose()));
  }
  return *token;
}

}  // namespace

std::vector<std::string> ChatTemplate::Names() {
  std::vector<std::string> names;
  for (const Family& family : kFamilies) names.emplace_back(family.name);
  return names;
}

ChatTemplate ChatTemplate::For(const Tokenizer& tokenizer, const std::string& name) {
  ChatTemplate made;
  made.tokenizer_ = &tokenizer;
  made.name_ = name;
  if (name == "auto") {
    const auto detected = Detect(tokenizer.chat_template());
    if (!detected) ThrowInvalid("the model's own chat template is of no family known here; " + HowToChoose());
    made.name_ = *detected;
  }
  const Family* family = FindFamily(made.name_);
  if (family == nullptr) {
    const auto nearest = NearestName(name, Names());
    ThrowInvalid(fmt::format("unknown chat template \"{}\"{}; {}", name,
                             nearest ? fmt::format(", did you mean \"{}\"?", *nearest) : "", HowToChoose()));
  }
  made.turn_end_ = TurnEnd(tokenizer, *family);
  made.stop_tokens_ = {made.turn_end_};
  for (const auto& token : {tokenizer.eos(), tokenizer.FindToken(family->also_stops)}) {
    if (token && std::count(made.stop_tokens_.begin(), made.stop_tokens_.end(), *token) == 0) {
      made.stop_tokens_.push_back(*token);
    }
  }
  return made;
}

std::string ChatTemplate::RenderPrompt(const Messages& given) const {
  CheckMessages(given);
  Messages messages = given;
  for (ChatMessage& message : messages) message.content = ReplaceInvalidUtf8(message.content);
  const auto text_of = [&](std::optional<int32_t> token) {
    return token ? tokenizer_->TokenBytes(*token, false) : std::string();
  };
  const std::string bos = text_of(tokenizer_->bos());
  if (name_ == "gemma") return RenderGemma(messages, bos);
  if (name_ == "llama3" || name_ == "llama3.1") return RenderLlama3(messages, bos, name_ == "llama3.1");
  if (name_ == "mistral") return RenderMistral(messages, bos, text_of(tokenizer_->eos()));
  if (name_ == "plain") return RenderPlain(messages);
  return RenderChatml(messages, FindFamily(name_)->default_system);
}

std::vector<int32_t> ChatTemplate::EncodePrompt(const Messages& messages) const {
  std::vector<int32_t> tokens = tokenizer_->Encode(RenderPrompt(messages), SpecialTokens::kParse);
  if (tokenizer_->add_bos() && (tokens.empty() || tokens[0] != *tokenizer_->bos())) {
    tokens.insert(tokens.begin(), *tokenizer_->bos());
  }
  return tokens;
}

// Control tokens spelled out in an answer stay text: a real one would end the turn in its middle.
std::vector<int32_t> ChatTemplate::EncodeResponse(const std::string& response) const {
  const bool strips = name_ == "gemma" || name_ == "llama3" || name_ == "llama3.1";
  const std::string text = ReplaceInvalidUtf8(response);
  std::vector<int32_t> tokens =
      tokenizer_->Encode(strips ? Strip(text) : std::string_view(text), SpecialTokens::kAsText);
  tokens.push_back(turn_end_);
  return tokens;
}

}  // namespace elrea
