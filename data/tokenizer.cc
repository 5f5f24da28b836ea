// Loading by kind of file, and decoding, which is the same for all kinds.
#include "data/tokenizer.h"

#include <fmt/format.h>

#include "core/error.h"
#include "core/files.h"
#include "core/gguf.h"
#include "core/text.h"
#include "data/pipeline_tokenizer.h"
#include "data/tokenizer_gguf.h"
#include "data/tokenizer_json.h"

namespace elrea {
namespace {

TokenizerSpec ReadSpec(const fs::path& model) {
  std::error_code unreadable;  // reading will say why
  if (fs::is_directory(model, unreadable)) {
    const fs::path json = model / "tokenizer.json";
    if (!fs::exists(json, unreadable)) {
      throw Error(
          ErrorKind::kNotFound,
          fmt::format("{} has no tokenizer.json; give a .gguf file or a folder with a Hugging Face tokenizer",
                      model.string()));
    }
    return ReadJsonTokenizer(json);
  }
  if (!fs::exists(model, unreadable)) {
    throw Error(
        ErrorKind::kNotFound,
        fmt::format("no tokenizer at {}; give a .gguf file or a folder with tokenizer.json", model.string()));
  }
  return model.extension() == ".json" ? ReadJsonTokenizer(model) : ReadGgufTokenizer(GgufFile(model));
}

}  // namespace

std::unique_ptr<Tokenizer> Tokenizer::Load(const fs::path& model) {
  return WithContext("loading the tokenizer",
                     [&] { return std::make_unique<PipelineTokenizer>(ReadSpec(model)); });
}

std::string Tokenizer::Decode(std::span<const int32_t> tokens, bool skip_special) const {
  std::string text;
  for (const int32_t token : tokens) text += TokenBytes(token, skip_special);
  if (strips_leading_space_ && text.starts_with(' ')) text.erase(0, 1);
  return text;
}

std::optional<int32_t> Tokenizer::FindToken(std::string_view special_text) const {
  for (const auto& [text, id] : special_) {
    if (text == special_text) return id;
  }
  return std::nullopt;
}

std::string StreamDecoder::Push(int32_t token) {
  pending_ += tokenizer_.TokenBytes(token, true);
  if (at_start_ && !pending_.empty()) {
    if (tokenizer_.strips_leading_space() && pending_.starts_with(' ')) pending_.erase(0, 1);
    at_start_ = false;
  }
  const size_t complete = CompleteUtf8Prefix(pending_);
  std::string text = ReplaceInvalidUtf8(std::string_view(pending_).substr(0, complete));
  pending_.erase(0, complete);
  return text;
}

std::string StreamDecoder::Flush() {
  std::string text = ReplaceInvalidUtf8(pending_);
  pending_.clear();
  return text;
}

}  // namespace elrea
