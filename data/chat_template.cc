// One function per family writes the turns. Detection looks for the strings that only that family's Jinja
// source has, and then compares prompts.
#include "data/chat_template.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string_view>

#include "core/error.h"
#include "core/files.h"
#include "core/text.h"
#include "data/jinja.h"
#include "data/jinja_lexer.h"

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
    {"jinja", "", "", ""},
};

// Noon of the day that Llama 3.1's template names where nothing tells it the time, in UTC.
constexpr int64_t kLlamaDay_s = 1721995200;

const Family* FindFamily(std::string_view name) {
  const auto* found = std::find_if(std::begin(kFamilies), std::end(kFamilies),
                                   [&](const Family& family) { return name == family.name; });
  return found == std::end(kFamilies) ? nullptr : found;
}

// A family's name, or nothing when the source is none that we render exactly.
std::optional<std::string> Detect(std::string_view source) {
  const auto has = [&](std::string_view text) { return source.find(text) != std::string_view::npos; };
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
    text += fmt::format("{}<end_of_turn>\n", PythonStrip(messages[i].content));
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
    const std::string_view system = has_system ? PythonStrip(messages[0].content) : "";
    text += Llama3Turn(
        "system",
        fmt::format("Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n{}", system));
    first = has_system ? 1 : 0;
  }
  for (size_t i = first; i < messages.size(); ++i) {
    text += Llama3Turn(messages[i].role, PythonStrip(messages[i].content));
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
  if (name == "jinja") {
    made.UseModelTemplate();
  } else if (name != "auto") {
    made.UseFamily(name);
  } else if (tokenizer.chat_template().empty()) {
    made.UseFamily("plain");
  } else {
    made.UseModelTemplate();
    const auto family = Detect(tokenizer.chat_template());
    if (family && made.AgreesWithModelTemplate(*family)) made.UseFamily(*family);
  }
  return made;
}

void ChatTemplate::UseFamily(const std::string& name) {
  const Family* family = FindFamily(name);
  if (family == nullptr) {
    const auto nearest = NearestName(name, Names());
    ThrowInvalid(fmt::format("unknown chat template \"{}\"{}; {}", name,
                             nearest ? fmt::format(", did you mean \"{}\"?", *nearest) : "", HowToChoose()));
  }
  name_ = name;
  jinja_ = nullptr;
  turn_end_ = TurnEnd(*tokenizer_, *family);
  strips_response_ = name == "gemma" || name == "llama3" || name == "llama3.1";
  response_lead_.clear();
  stop_tokens_ = {turn_end_};
  for (const auto& token : {tokenizer_->eos(), tokenizer_->FindToken(family->also_stops)}) {
    if (token && std::count(stop_tokens_.begin(), stop_tokens_.end(), *token) == 0) {
      stop_tokens_.push_back(*token);
    }
  }
}

void ChatTemplate::UseModelTemplate() {
  if (tokenizer_->chat_template().empty()) {
    ThrowInvalid("the model has no chat template of its own; " + HowToChoose());
  }
  try {
    jinja_ = std::make_shared<const JinjaTemplate>(ReplaceInvalidUtf8(tokenizer_->chat_template()));
  } catch (const Error& error) {
    ThrowInvalid(error.message() + "; " + HowToChoose());
  }
  name_ = "jinja";
  LearnResponseForm();
}

// What the model's template makes of an answer: what it writes before it, whether it strips it, and which
// token ends the turn. EOS where the template does not show it.
void ChatTemplate::LearnResponseForm() {
  static constexpr std::string_view kAnswer = "Xq7answer";
  std::optional<int32_t> turn_end;
  try {
    const std::string prompt = RenderModelTemplate({{"user", "Hello"}}, true, std::nullopt);
    const std::string whole = RenderModelTemplate(
        {{"user", "Hello"}, {"assistant", fmt::format("  {}  ", kAnswer)}}, false, std::nullopt);
    const size_t at = whole.find(kAnswer);
    if (at != whole.npos) {
      std::string_view behind = std::string_view(whole).substr(at + kAnswer.size());
      strips_response_ = !behind.starts_with("  ");
      if (whole.starts_with(prompt) && at >= prompt.size()) {
        response_lead_ = whole.substr(prompt.size(), at - prompt.size());
        if (!strips_response_ && response_lead_.ends_with("  "))
          response_lead_.resize(response_lead_.size() - 2);
      }
      const auto tokens = tokenizer_->Encode(PythonStrip(behind), SpecialTokens::kParse);
      if (!tokens.empty() && tokenizer_->FindToken(tokenizer_->TokenBytes(tokens[0], false)) == tokens[0]) {
        turn_end = tokens[0];
      }
    }
  } catch (const Error&) {  // a template may refuse this conversation and take others
  }
  if (!turn_end) turn_end = tokenizer_->eos();
  if (!turn_end) {
    ThrowInvalid(
        "the model's chat template ends a turn with no token of its own, and there is no EOS token; " +
        HowToChoose());
  }
  turn_end_ = *turn_end;
  stop_tokens_ = {turn_end_};
  if (tokenizer_->eos() && *tokenizer_->eos() != turn_end_) stop_tokens_.push_back(*tokenizer_->eos());
}

bool ChatTemplate::AgreesWithModelTemplate(const std::string& family) const {
  const ChatMessage system{"system", " Be brief.\n"}, user{"user", " What is 2 + 2?\n"},
      answer{"assistant", " 4\n"};
  ChatTemplate trial;
  trial.tokenizer_ = tokenizer_;
  try {
    trial.UseFamily(family);
  } catch (const Error&) {  // a vocabulary without the family's tokens
    return false;
  }
  for (const Messages& messages :
       {Messages{user}, {user, answer, user}, {system, user}, {system, user, answer, user}}) {
    std::optional<std::string> ours, theirs;
    try {
      theirs = RenderModelTemplate(messages, true, kLlamaDay_s);
    } catch (const Error&) {  // neither may render what the other refuses, but a family may refuse more
    }
    try {
      ours = trial.RenderPrompt(messages);
    } catch (const Error&) {
    }
    if (ours && ours != theirs) return false;
  }
  return true;
}

std::string ChatTemplate::TextOf(std::optional<int32_t> token) const {
  return token ? tokenizer_->TokenBytes(*token, false) : std::string();
}

std::string ChatTemplate::RenderModelTemplate(const Messages& messages, bool add_generation_prompt,
                                              std::optional<int64_t> now_s) const {
  JinjaList list;
  for (const ChatMessage& message : messages) {
    list.push_back(JinjaValue::Dict({{"role", message.role}, {"content", message.content}}));
  }
  JinjaContext context{{{"messages", JinjaValue::List(std::move(list))},
                        {"add_generation_prompt", add_generation_prompt},
                        {"tools", JinjaNone{}},
                        {"documents", JinjaNone{}}},
                       now_s};
  if (tokenizer_->bos()) context.variables.emplace_back("bos_token", TextOf(tokenizer_->bos()));
  if (tokenizer_->eos()) context.variables.emplace_back("eos_token", TextOf(tokenizer_->eos()));
  return jinja_->Render(context);
}

std::string ChatTemplate::fingerprint() const {
  return jinja_ ? "jinja-" + ChecksumHex(tokenizer_->chat_template()) : name_;
}

std::string ChatTemplate::RenderPrompt(const Messages& given) const {
  CheckMessages(given);
  Messages messages = given;
  for (ChatMessage& message : messages) message.content = ReplaceInvalidUtf8(message.content);
  if (jinja_) return RenderModelTemplate(messages, true, std::nullopt);
  const std::string bos = TextOf(tokenizer_->bos());
  if (name_ == "gemma") return RenderGemma(messages, bos);
  if (name_ == "llama3" || name_ == "llama3.1") return RenderLlama3(messages, bos, name_ == "llama3.1");
  if (name_ == "mistral") return RenderMistral(messages, bos, TextOf(tokenizer_->eos()));
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

std::vector<int32_t> ChatTemplate::Beginning() const try {
  std::vector<int32_t> one = EncodePrompt({{"user", "Name it"}});
  const std::vector<int32_t> other = EncodePrompt({{"user", "17 + 4"}});
  one.erase(std::mismatch(one.begin(), one.end(), other.begin(), other.end()).first, one.end());
  return one;
} catch (const Error&) {
  return {};
}

// Control tokens spelled out in an answer stay text: a real one would end the turn in its middle.
std::vector<int32_t> ChatTemplate::EncodeResponse(const std::string& response) const {
  const std::string text = ReplaceInvalidUtf8(response);
  const std::string_view answer = strips_response_ ? PythonStrip(text) : std::string_view(text);
  std::vector<int32_t> tokens =
      tokenizer_->Encode(response_lead_ + std::string(answer), SpecialTokens::kAsText);
  tokens.push_back(turn_end_);
  return tokens;
}

}  // namespace elrea
