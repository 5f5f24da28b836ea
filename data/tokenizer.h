// Text <-> token ids of a model's own vocabulary: byte-level BPE (GPT-2, Llama 3, Qwen 2, SmolLM
// pre-tokenisers) and SentencePiece-style BPE, from GGUF metadata or a Hugging Face tokenizer.json, and
// WordPiece (BERT) from the latter.
// Const-shareable.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace elrea {

class GgufFile;

enum class SpecialTokens { kParse, kAsText };  // is "<|im_end|>" in the text one token, or ten characters?

class Tokenizer {
 public:
  // `model`: a .gguf file, a directory with tokenizer.json (and tokenizer_config.json, chat_template.jinja
  // where there are such), or a tokenizer.json. kNotFound, kCorrupt, kInvalidInput (unsupported kind).
  static std::unique_ptr<Tokenizer> Load(const std::filesystem::path& model);
  virtual ~Tokenizer() = default;

  // No BOS is added. Invalid UTF-8 is treated as U+FFFD per maximal invalid sequence.
  virtual std::vector<int32_t> Encode(std::string_view text, SpecialTokens special) const = 0;
  // The bytes a token stands for; special tokens give their text, or nothing with `skip_special`.
  virtual std::string TokenBytes(int32_t token, bool skip_special) const = 0;
  // Ids out of range throw kInvalidInput. The bytes may be invalid UTF-8 when a character is cut.
  std::string Decode(std::span<const int32_t> tokens, bool skip_special) const;

  int64_t vocab_size() const { return vocab_size_; }
  std::optional<int32_t> bos() const { return bos_; }
  std::optional<int32_t> eos() const { return eos_; }
  bool add_bos() const { return add_bos_; }  // the model expects BOS at the start of every text
  // What the file's post-processor puts around one text, such as [CLS] and [SEP]; Encode leaves both out.
  const std::vector<int32_t>& text_prefix() const { return prefix_; }
  const std::vector<int32_t>& text_suffix() const { return suffix_; }
  std::optional<int32_t> FindToken(std::string_view special_text) const;  // id of a special token by its text
  const std::string& chat_template() const {
    return chat_template_;
  }  // Jinja source; empty when there is none
  // Hash of vocabulary, merges, special tokens and kind: equal hash means equal encodings.
  const std::string& fingerprint() const { return fingerprint_; }

  // Whether the first token's leading space is not part of the text (SentencePiece's dummy prefix, the space
  // before a WordPiece word).
  bool strips_leading_space() const { return strips_leading_space_; }

 protected:
  int64_t vocab_size_ = 0;
  std::optional<int32_t> bos_, eos_;
  bool add_bos_ = false;
  bool strips_leading_space_ = false;  // encoding put a space before the text; decoding takes it away
  std::vector<int32_t> prefix_, suffix_;
  std::vector<std::pair<std::string, int32_t>> special_;
  std::string chat_template_, fingerprint_;
};

// Turns a token stream into text pieces that never end inside a UTF-8 character. Special tokens give nothing.
// The pieces together are Decode(tokens, true) with U+FFFD for what is not UTF-8. The tokenizer must outlive
// it. Single-thread.
class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}
  std::string Push(int32_t token);  // text that became complete; may be empty
  std::string Flush();              // what is left, an incomplete character as U+FFFD

 private:
  const Tokenizer& tokenizer_;
  std::string pending_;
  bool at_start_ = true;
};

}  // namespace elrea
