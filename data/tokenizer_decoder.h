// From tokens' pieces back to text: the steps that a tokenizer.json calls decoders, and SentencePiece's own.
// Const-shareable.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "core/json.h"
#include "data/pretokenizer_regex.h"

namespace elrea {

// What becomes of bytes that are not UTF-8: U+FFFD as the reference libraries have it, or the bytes as they
// are, for those who will see the rest of the character later.
enum class BrokenBytes { kReplace, kKeep };

class TokenDecoder {
 public:
  struct ByteLevel {};     // pieces are spelled in GPT-2's byte alphabet
  struct ByteFallback {};  // runs of "<0x0A>" are bytes
  struct Fuse {};          // what follows sees one text instead of pieces
  struct Replace {
    std::string from;  // a plain text, or the source of `regex`
    std::string to;
    std::shared_ptr<const PreTokenizerRegex> regex;  // none for a plain text
  };
  struct Strip {
    std::string content;  // one character
    int64_t start, stop;  // of which at most so many go at either end of each piece
  };
  struct Metaspace {
    std::string replacement;  // becomes a space, or nothing in the first piece
    bool drop_in_first;
  };
  struct WordPiece {
    std::string prefix;  // of pieces that go on a word; before others there is a space
    bool cleanup;        // no space before punctuation and English contractions
  };
  struct BpeSuffix {
    std::string suffix;  // ends a word: becomes a space, but at the very end
  };
  struct Ctc {
    std::string pad, word_delimiter;
    bool cleanup;
  };
  struct SentencePiece {
    bool drops_dummy_prefix;  // U+2581 at the start of the first piece that gives text is not text
    bool drops_all_leading;   // ... of every piece until there is text
    std::string unknown, unknown_surface;
  };
  using Step = std::variant<ByteLevel, ByteFallback, Fuse, Replace, Strip, Metaspace, WordPiece, BpeSuffix,
                            Ctc, SentencePiece>;

  template <typename OneStep>
  void Add(OneStep step) {
    steps_.emplace_back(std::in_place_type<OneStep>, std::move(step));
  }
  // Every decoder of the `tokenizers` library; null: pieces are joined with spaces, as there. kInvalidInput
  // for an unknown type, kCorrupt for a malformed section.
  static TokenDecoder FromJson(const SortedJson& section, const std::string& origin);

  std::string Decode(std::vector<std::string> pieces, BrokenBytes broken) const;
  // What one piece stands for amid others, as far as that can be told of one.
  std::string PieceBytes(const std::string& piece) const;

 private:
  void AddJson(const SortedJson& section, const std::string& origin, int depth);
  void AddReplace(const SortedJson& section, const std::string& origin);
  std::vector<Step> steps_;
};

}  // namespace elrea
