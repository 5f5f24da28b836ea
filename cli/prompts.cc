#include "cli/prompts.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "core/error.h"
#include "core/log.h"
#include "core/text.h"
#include "data/few_shot.h"
#include "data/records.h"

namespace elrea {
namespace {

// The text as it is, with the BOS token where the model expects one; nothing of a chat around it.
std::vector<int32_t> EncodeRaw(const Tokenizer& tokenizer, const std::vector<ChatMessage>& messages) {
  std::vector<int32_t> tokens = tokenizer.Encode(messages.back().content, SpecialTokens::kParse);
  const bool has_bos = !tokens.empty() && tokens.front() == tokenizer.bos();
  if (tokenizer.add_bos() && tokenizer.bos() && !has_bos) tokens.insert(tokens.begin(), *tokenizer.bos());
  return tokens;
}

void CheckFits(const Prompt& prompt, size_t number, int64_t context) {
  const auto length = static_cast<int64_t>(prompt.tokens.size());
  if (length == 0)
    throw Error(ErrorKind::kInvalidInput, fmt::format("prompt {} is empty; write something", number));
  if (length < context) return;
  throw Error(
      ErrorKind::kInvalidInput,
      fmt::format(
          "prompt {} has {} tokens, and the model's context of {} must hold the answer too; shorten it",
          number, length, context));
}

std::vector<std::vector<ChatMessage>> ReadConversations(const PromptFlags& flags) {
  if (flags.input.empty()) {
    if (Trim(flags.prompt).empty()) {
      throw Error(ErrorKind::kInvalidInput, "no prompt: give --prompt TEXT or --input FILE");
    }
    return {{{"user", ReplaceInvalidUtf8(flags.prompt)}}};
  }
  EvalFile file = ReadEvalRecords(flags.input);
  if (file.ledger.HasLosses()) {
    LogWarning("input", "{}: {}; {}", flags.input, file.ledger.Summary(),
               file.ledger.FirstCulprits(RowFate::kMalformed, 3));
  }
  std::vector<std::vector<ChatMessage>> conversations;
  for (const EvalRecord& record : file.records) conversations.push_back(WithExamples(record, record.examples.size()));
  return conversations;
}

}  // namespace

void AddPromptFlags(CLI::App& command, PromptFlags& flags) {
  CLI::Option* one = command.add_option("--prompt", flags.prompt, "one prompt")->type_name("TEXT");
  command
      .add_option("--input", flags.input,
                  "a file with one line {\"prompt\": ...} or {\"messages\": [...]} each")
      ->type_name("FILE")
      ->excludes(one);
  command.add_flag("--raw", flags.raw, "continue the text itself, without the chat template around it");
}

std::vector<Prompt> LoadPrompts(const PromptFlags& flags, const Backbone& backbone) {
  std::vector<Prompt> prompts;
  for (auto& messages : ReadConversations(flags)) {
    std::vector<int32_t> tokens =
        flags.raw ? EncodeRaw(*backbone.tokenizer, messages) : backbone.chat->EncodePrompt(messages);
    prompts.push_back({std::move(messages), std::move(tokens)});
    CheckFits(prompts.back(), prompts.size(), backbone.decoder->config().context_length);
  }
  return prompts;
}

const std::string& PromptText(const Prompt& prompt) { return prompt.messages.back().content; }

}  // namespace elrea
