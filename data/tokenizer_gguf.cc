// GGUF keys as llama.cpp writes them. Where llama.cpp and the model's original tokenizer differ, the original
// decides.
#include "data/tokenizer_gguf.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "core/error.h"
#include "core/text.h"
#include "data/pretokenizer_chars.h"
#include "data/tokenizer_sentencepiece.h"

namespace elrea {
namespace {

constexpr std::string_view kLowLine = "\xE2\x96\x81";

// Four times the longest of real vocabularies; deriving merges takes quadratic time in a piece's length.
constexpr size_t kMaxPieceBytes = 1024;

enum TokenType : int64_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6
};

[[noreturn]] void ThrowCorrupt(const GgufFile& file, const std::string& fault) {
  throw Error(ErrorKind::kCorrupt,
              fmt::format("{}: {}; the file is damaged, get it again", file.path().string(), fault));
}

std::optional<int32_t> TokenId(const GgufFile& file, const std::string& key, size_t vocab_size) {
  if (!file.Contains(key)) return std::nullopt;
  const int64_t id = file.GetInt(key);
  if (id < 0 || id >= static_cast<int64_t>(vocab_size)) {
    ThrowCorrupt(file, fmt::format("{} is {}, but there are {} tokens", key, id, vocab_size));
  }
  return static_cast<int32_t>(id);
}

bool BoolOr(const GgufFile& file, const std::string& key, bool fallback) {
  return file.Contains(key) ? file.GetBool(key) : fallback;
}

std::vector<std::string> ReadPieces(const GgufFile& file) {
  std::vector<std::string> pieces;
  for (const std::string_view piece : file.GetStrings("tokenizer.ggml.tokens")) {
    if (piece.size() > kMaxPieceBytes) {
      ThrowCorrupt(file, fmt::format("token {} is {} bytes long", pieces.size(), piece.size()));
    }
    // Everything after this may take a piece for well-formed text.
    pieces.push_back(IsValidUtf8(piece) ? std::string(piece) : ReplaceInvalidUtf8(piece));
  }
  if (pieces.empty()) ThrowCorrupt(file, "tokenizer.ggml.tokens is empty");
  return pieces;
}

std::vector<int64_t> ReadTypes(const GgufFile& file, size_t vocab_size) {
  const std::string key = "tokenizer.ggml.token_type";
  if (!file.Contains(key)) return std::vector<int64_t>(vocab_size, kNormal);
  const std::vector<int64_t> types = file.GetInts(key);
  if (types.size() != vocab_size) {
    ThrowCorrupt(file, fmt::format("{} has {} entries for {} tokens", key, types.size(), vocab_size));
  }
  return types;
}

bool IsGemma(const GgufFile& file) {
  return file.Contains("general.architecture") && file.GetString("general.architecture").starts_with("gemma");
}

// Gemma's runs of spaces are stored as such although its text has U+2581 by the time they could match.
void RespellSpaceRuns(std::vector<std::string>& pieces, std::vector<int64_t>& types) {
  for (size_t id = 0; id < pieces.size(); ++id) {
    if (pieces[id].empty() || pieces[id].find_first_not_of(' ') != std::string::npos) continue;
    std::string respelled;
    for (size_t i = 0; i < pieces[id].size(); ++i) respelled += kLowLine;
    pieces[id] = respelled;
    types[id] = kNormal;
  }
}

std::vector<AddedToken> AddedTokens(const std::vector<std::string>& pieces,
                                    const std::vector<int64_t>& types) {
  std::vector<AddedToken> added;
  for (size_t id = 0; id < pieces.size(); ++id) {
    if (types[id] == kControl || types[id] == kUserDefined) {
      added.push_back(
          {.content = pieces[id], .id = static_cast<int32_t>(id), .special = types[id] == kControl});
    }
  }
  return added;
}

std::vector<BpeMergeRule> ReadMerges(const GgufFile& file, const Vocabulary& vocabulary) {
  std::vector<BpeMergeRule> merges;
  const auto& lines = file.GetStrings("tokenizer.ggml.merges");
  merges.reserve(lines.size());
  for (const std::string_view line : lines) {
    const size_t space = line.find(' ', 1);  // a part may itself begin with a space
    const std::string_view left = line.substr(0, space);
    const std::string_view right = space == std::string_view::npos ? "" : line.substr(space + 1);
    const auto left_id = vocabulary.Find(left), right_id = vocabulary.Find(right);
    const auto merged_id = vocabulary.Find(std::string(left) + std::string(right));
    if (!left_id || !right_id || !merged_id) {
      ThrowCorrupt(file, fmt::format("tokenizer.ggml.merges[{}] \"{}\" has a part that is not a token",
                                     merges.size(), ReplaceInvalidUtf8(line)));
    }
    merges.push_back({*left_id, *right_id, *merged_id, static_cast<uint32_t>(merges.size())});
  }
  return merges;
}

std::vector<double> ReadScores(const GgufFile& file, size_t vocab_size) {
  const std::string key = "tokenizer.ggml.scores";
  std::vector<double> scores = file.GetDoubles(key);
  if (scores.size() != vocab_size) {
    ThrowCorrupt(file, fmt::format("{} has {} entries for {} tokens", key, scores.size(), vocab_size));
  }
  for (double& score : scores) {
    if (!(score == score)) ThrowCorrupt(file, key + " holds a NaN");
  }
  return scores;
}

// Byte-level: GPT-2's scheme with the pre-tokeniser of the family.
void FillByteLevel(const GgufFile& file, TokenizerSpec& spec) {
  auto& bpe = spec.model.emplace<BpeRules>();
  const std::string pre = file.GetString("tokenizer.ggml.pre");
  bpe.byte_level = true;
  spec.decoder.Add(TokenDecoder::ByteLevel{});
  spec.pre_tokenizer = PreTokenizer::FromGgufName(pre, file.path().string());
  bpe.merges = ReadMerges(file, spec.vocabulary);
  const bool llama3 = pre == "llama-bpe" || pre == "llama3" || pre == "llama-v3";
  bpe.ignore_merges = llama3;
  spec.add_bos = BoolOr(file, "tokenizer.ggml.add_bos_token", llama3);
  if (pre == "qwen2") spec.normalizer.Add(Normalizer::Step::kNfc);
}

void FillSentencePiece(const GgufFile& file, TokenizerSpec& spec) {
  auto& bpe = spec.model.emplace<BpeRules>();
  const auto vocab_size = static_cast<size_t>(spec.vocabulary.size());
  bpe.byte_fallback = true;
  bpe.fuse_unknown = true;
  spec.unknown = TokenId(file, "tokenizer.ggml.unknown_token_id", vocab_size);
  spec.add_bos = BoolOr(file, "tokenizer.ggml.add_bos_token", true);
  const bool space_prefix = BoolOr(file, "tokenizer.ggml.add_space_prefix", !IsGemma(file));
  if (space_prefix) spec.normalizer.Add(Normalizer::Step::kPrepend, std::string(kLowLine));
  spec.decoder.Add(TokenDecoder::Replace{std::string(kLowLine), " ", nullptr});
  spec.decoder.Add(TokenDecoder::ByteFallback{});
  spec.decoder.Add(TokenDecoder::Fuse{});
  if (space_prefix) spec.decoder.Add(TokenDecoder::Strip{" ", 1, 0});
  spec.normalizer.Add(Normalizer::Step::kReplace, std::string(kLowLine), " ");
  if (file.Contains("tokenizer.ggml.merges")) {
    bpe.merges = ReadMerges(file, spec.vocabulary);
    return;
  }
  std::vector<double> scores = ReadScores(file, vocab_size);
  if (IsGemma(file)) {
    // Gemma's scores do not follow the order in which its merges were learnt; the order of its tokens does.
    for (size_t id = 0; id < vocab_size; ++id) scores[id] = -static_cast<double>(id);
  }
  bpe.merges = DeriveMerges(spec.vocabulary, scores);
}

// SentencePiece's unigram models, which llama.cpp calls by the family that brought them.
TokenizerSpec ReadUnigram(const GgufFile& file, const std::vector<std::string>& pieces,
                          const std::vector<int64_t>& types) {
  SentencePieceModel model;
  model.origin = file.path().string();
  const std::vector<double> scores = ReadScores(file, pieces.size());
  int64_t bytes = 0;
  for (size_t id = 0; id < pieces.size(); ++id) {
    if (types[id] < kNormal || types[id] > kByte)
      ThrowCorrupt(file, fmt::format("tokenizer.ggml.token_type[{}] is {}", id, types[id]));
    model.pieces.push_back({pieces[id], static_cast<float>(scores[id]), types[id]});
    bytes += types[id] == kByte;
  }
  model.byte_fallback = bytes == 256;
  model.rules.add_dummy_prefix = BoolOr(file, "tokenizer.ggml.add_space_prefix", true);
  model.rules.remove_extra_whitespaces = BoolOr(file, "tokenizer.ggml.remove_extra_whitespaces", false);
  if (const std::string key = "tokenizer.ggml.precompiled_charsmap"; file.Contains(key)) {
    for (const int64_t byte : file.GetInts(key)) model.charsmap += static_cast<char>(byte);
  }
  TokenizerSpec spec = MakeSentencePieceSpec(model);
  spec.add_bos = BoolOr(file, "tokenizer.ggml.add_bos_token", false);
  return spec;
}

}  // namespace

TokenizerSpec ReadGgufTokenizer(const GgufFile& file) {
  const std::string model = file.GetString("tokenizer.ggml.model");
  if (model != "gpt2" && model != "llama" && model != "t5") {
    throw Error(
        ErrorKind::kInvalidInput,
        fmt::format("{}: unsupported tokenizer.ggml.model = \"{}\"; supported are \"gpt2\" (byte-level BPE), "
                    "\"llama\" (SentencePiece BPE) and \"t5\" (SentencePiece unigram)",
                    file.path().string(), model));
  }
  std::vector<std::string> pieces = ReadPieces(file);
  std::vector<int64_t> types = ReadTypes(file, pieces.size());
  if (model == "llama" && IsGemma(file)) RespellSpaceRuns(pieces, types);
  TokenizerSpec spec;
  if (model == "t5") {
    spec = ReadUnigram(file, pieces, types);
  } else {
    spec.added = AddedTokens(pieces, types);
  }
  spec.bos = TokenId(file, "tokenizer.ggml.bos_token_id", pieces.size());
  spec.eos = TokenId(file, "tokenizer.ggml.eos_token_id", pieces.size());
  if (model != "t5") spec.vocabulary = Vocabulary(std::move(pieces));
  if (model == "gpt2") {
    FillByteLevel(file, spec);
  } else if (model == "llama") {
    FillSentencePiece(file, spec);
  }
  if (file.Contains("tokenizer.chat_template"))
    spec.chat_template = file.GetString("tokenizer.chat_template");
  return spec;
}

std::vector<BpeMergeRule> DeriveMerges(const Vocabulary& vocabulary, const std::vector<double>& score) {
  std::vector<int32_t> by_score(score.size());
  std::iota(by_score.begin(), by_score.end(), 0);
  const auto better = [&](int32_t a, int32_t b) { return score[a] > score[b]; };
  std::stable_sort(by_score.begin(), by_score.end(), better);
  struct Ranked {
    BpeMergeRule rule;
    int64_t left_chars, right_chars;
  };
  std::vector<BpeMergeRule> merges;
  std::vector<Ranked> equal;  // merges into tokens of one score
  const auto flush = [&] {
    std::stable_sort(equal.begin(), equal.end(), [](const Ranked& a, const Ranked& b) {
      return std::pair(-a.left_chars, -a.right_chars) < std::pair(-b.left_chars, -b.right_chars);
    });
    for (Ranked& ranked : equal) {
      ranked.rule.rank = static_cast<uint32_t>(merges.size());
      merges.push_back(ranked.rule);
    }
    equal.clear();
  };
  for (size_t i = 0; i < by_score.size(); ++i) {
    const int32_t merged = by_score[i];
    if (i > 0 && score[merged] != score[by_score[i - 1]]) flush();
    const std::string_view piece = vocabulary.piece(merged);
    const auto num_chars = std::count_if(
        piece.begin(), piece.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
    int64_t left_chars = 1;
    for (size_t cut = piece.empty() ? 0 : CharAt(piece, 0).num_bytes; cut < piece.size(); ++left_chars) {
      const auto left = vocabulary.Find(piece.substr(0, cut));
      const auto right = left ? vocabulary.Find(piece.substr(cut)) : std::nullopt;
      if (right) equal.push_back({{*left, *right, merged, 0}, left_chars, num_chars - left_chars});
      cut += CharAt(piece, cut).num_bytes;
    }
  }
  flush();
  return merges;
}

}  // namespace elrea
