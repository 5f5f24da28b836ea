#include "data/token_contract.h"

#include <fmt/format.h>

#include "core/error.h"
#include "core/text.h"

namespace elrea {

TokenContract TokenContract::Of(const Tokenizer& tokenizer, const ChatTemplate& chat) {
  bool begins = tokenizer.add_bos();
  try {
    const std::vector<int32_t> prompt = chat.EncodePrompt({{"user", "Hello"}});
    begins = tokenizer.bos() && !prompt.empty() && prompt.front() == *tokenizer.bos();
  } catch (const Error&) {  // a template may refuse this conversation and take others
  }
  return {.vocabulary = tokenizer.fingerprint(),
          .vocab_size = tokenizer.vocab_size(),
          .chat_template = chat.fingerprint(),
          .bos = begins ? tokenizer.TokenBytes(*tokenizer.bos(), false) : "",
          .stop_tokens = chat.stop_tokens()};
}

Json TokenContract::ToJson() const {
  return {{"format_version", 1},
          {"vocabulary", vocabulary},
          {"vocab_size", vocab_size},
          {"chat_template", chat_template},
          {"bos", bos},
          {"stop_tokens", stop_tokens},
          {"loss", loss}};
}

void WriteTokenContract(const fs::path& adapter, const TokenContract& contract) {
  WriteJsonFile(adapter / kTokenContractFile, contract.ToJson());
}

void CheckTokenContract(const fs::path& adapter, const TokenContract& ours) {
  const fs::path path = adapter / kTokenContractFile;
  std::error_code unreadable;  // reading will say why
  if (!fs::exists(path, unreadable)) return;
  const Json there = ReadVersionedJson(path), here = ours.ToJson();
  std::vector<std::string> differences;
  for (const auto& [key, value] : here.items()) {
    const Json theirs = there.contains(key) ? there[key] : Json();
    if (theirs != value) {
      differences.push_back(fmt::format("{} (adapter {}, here {})", key, JsonLine(theirs), JsonLine(value)));
    }
  }
  if (differences.empty()) return;
  throw Error(
      ErrorKind::kInvalidInput,
      fmt::format("the adapter {} was trained on other tokens than it would be given: {}. Give the model "
                  "it was trained on, and its template with --chat-template; to use it all the same, "
                  "delete {}",
                  adapter.string(), Join(differences, ", "), path.string()));
}

}  // namespace elrea
