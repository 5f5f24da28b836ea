// Text <-> token ids of a model's own vocabulary: BPE, unigram and WordPiece from a Hugging Face
// tokenizer.json, BPE and unigram from SentencePiece's tokenizer.model and from GGUF metadata.
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
  // `model`: a .gguf file, a directory with tokenizer.json or else tokenizer.model or spiece.model (and
  // tokenizer_config.json, chat_template.jinja where there are such), or one of these files. kNotFound,
  // kCorrupt, kInvalidInput (unsupported kind).
  static std::unique_ptr<Tokenizer> Load(const std::filesystem::path& model);
  virtual ~Tokenizer() = default;

  // No BOS is added. Invalid UTF-8 is treated as U+FFFD per maximal invalid sequence.
  virtual std::vector<int32_t> Encode(std::string_view text, SpecialTokens special) const = 0;
  // The bytes a token stands for amid others; special tokens give their text, or nothing with `skip_special`.
  // For one token's sake, such as a table of them: texts are made by Decode, whose first and last tokens may
  // give less.
  virtual std::string TokenBytes(int32_t token, bool skip_special) const = 0;
  // Text of tokens as the reference libraries give it: always UTF-8, with U+FFFD for what is not. Ids out of
  // range throw kInvalidInput.
  virtual std::string Decode(std::span<const int32_t> tokens, bool skip_special) const;
  // The same with the bytes of a character that is cut as they are.
  virtual std::string DecodeBytes(std::span<const int32_t> tokens, bool skip_special) const;

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

 protected:
  int64_t vocab_size_ = 0;
  std::optional<int32_t> bos_, eos_;
  bool add_bos_ = false;
  std::vector<int32_t> prefix_, suffix_;
  std::vector<std::pair<std::string, int32_t>> special_;
  std::string chat_template_, fingerprint_;
};

// Turns a token stream into text pieces that never end inside a UTF-8 character. Special tokens give nothing.
// The pieces together are Decode(tokens, true), but for a run of byte tokens that is not UTF-8, of which
// Decode may replace more. The tokenizer must outlive it. Single-thread.
class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}
  std::string Push(int32_t token);  // text that became complete; may be empty
  std::string Flush();              // what is left, an incomplete character as U+FFFD; a new text may follow

 private:
  // What a token adds depends on its neighbours: the first loses its space, say. So the last tokens are
  // decoded together, and what is new is handed out.
  const Tokenizer& tokenizer_;
  std::vector<int32_t> window_;
  size_t done_ = 0;  // bytes of the window's text that were handed out
};

}  // namespace elrea
