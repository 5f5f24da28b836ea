// Loading by kind of file, and decoding, which is the same for all kinds.
#include "data/tokenizer.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.h"
#include "core/files.h"
#include "core/gguf.h"
#include "core/text.h"
#include "data/pipeline_tokenizer.h"
#include "data/tokenizer_gguf.h"
#include "data/tokenizer_json.h"
#include "data/tokenizer_sentencepiece.h"

namespace elrea {
namespace {

// Tokens that a stream decodes together at most, and those kept when there are so many.
constexpr size_t kMaxWindow = 16, kKeptWindow = 6;

// What a folder's tokenizer is read from, the first of these that is there.
constexpr const char* kFolderFiles[] = {"tokenizer.json", "tokenizer.model", "spiece.model"};

fs::path FileOf(const fs::path& model) {
  std::error_code unreadable;  // reading will say why
  if (!fs::is_directory(model, unreadable)) return model;
  for (const char* name : kFolderFiles) {
    if (fs::exists(model / name, unreadable)) return model / name;
  }
  throw Error(
      ErrorKind::kNotFound,
      fmt::format(
          "{} has no tokenizer.json and no tokenizer.model; give a .gguf file or a folder with a Hugging "
          "Face tokenizer",
          model.string()));
}

TokenizerSpec ReadSpec(const fs::path& model) {
  const fs::path file = FileOf(model);
  std::error_code unreadable;
  if (!fs::exists(file, unreadable)) {
    throw Error(
        ErrorKind::kNotFound,
        fmt::format("no tokenizer at {}; give a .gguf file or a folder with tokenizer.json", model.string()));
  }
  if (file.extension() == ".json") return ReadJsonTokenizer(file);
  // Some name the version behind it: tokenizer.model.v3.
  if (file.filename().string().find(".model") != std::string::npos) return ReadSentencePieceTokenizer(file);
  return ReadGgufTokenizer(GgufFile(file));
}

}  // namespace

std::unique_ptr<Tokenizer> Tokenizer::Load(const fs::path& model) {
  return WithContext("loading the tokenizer",
                     [&] { return std::make_unique<PipelineTokenizer>(ReadSpec(model)); });
}

std::string Tokenizer::DecodeBytes(std::span<const int32_t> tokens, bool skip_special) const {
  std::string text;
  for (const int32_t token : tokens) text += TokenBytes(token, skip_special);
  return text;
}

std::string Tokenizer::Decode(std::span<const int32_t> tokens, bool skip_special) const {
  return ReplaceInvalidUtf8(DecodeBytes(tokens, skip_special));
}

std::optional<int32_t> Tokenizer::FindToken(std::string_view special_text) const {
  for (const auto& [text, id] : special_) {
    if (text == special_text) return id;
  }
  return std::nullopt;
}

std::string StreamDecoder::Push(int32_t token) {
  window_.push_back(token);
  const std::string bytes = tokenizer_.DecodeBytes(window_, true);
  const size_t complete = CompleteUtf8Prefix(bytes);
  if (complete <= done_) return "";
  std::string text = ReplaceInvalidUtf8(std::string_view(bytes).substr(done_, complete - done_));
  done_ = complete;
  if (window_.size() < kMaxWindow || complete < bytes.size()) return text;
  // Fewer tokens give the same continuation as long as the text does not begin among those that are left.
  const std::vector<int32_t> kept(window_.end() - kKeptWindow, window_.end());
  const size_t kept_bytes = tokenizer_.DecodeBytes(kept, true).size();
  if (kept_bytes > 0) {
    window_ = kept;
    done_ = kept_bytes;
  }
  return text;
}

std::string StreamDecoder::Flush() {
  const std::string bytes = tokenizer_.DecodeBytes(window_, true);
  std::string text = bytes.size() > done_ ? ReplaceInvalidUtf8(std::string_view(bytes).substr(done_)) : "";
  window_.clear();
  done_ = 0;
  return text;
}

}  // namespace elrea
