// One pass over the text's characters: each way to cut it up to here is prolonged by every piece that begins
// here.
#include "data/unigram_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <cfloat>
#include <limits>
#include <utility>

#include "core/error.h"
#include "data/bpe_cache.h"
#include "data/pretokenizer_chars.h"

namespace elrea {
namespace {

constexpr double kUnknownPenalty = 10;  // below the worst piece; both libraries
constexpr size_t kKeptCuts = size_t{1} << 16;

}  // namespace

UnigramModel::UnigramModel(const TokenizerSpec& spec, const UnigramRules& rules)
    : spec_(spec), rules_(rules), unknown_(spec.unknown.value_or(-1)) {
  using Kind = UnigramRules::Kind;
  double least = FLT_MAX, most = FLT_MIN;
  std::vector<std::pair<std::string_view, int32_t>> keys;
  for (size_t id = 0; id < rules.pieces.size(); ++id) {
    const UnigramRules::Piece& piece = rules.pieces[id];
    if (piece.kind == Kind::kNoMatch) continue;
    keys.emplace_back(spec.vocabulary.piece(static_cast<int32_t>(id)), static_cast<int32_t>(id));
    if (piece.kind == Kind::kUserDefined) continue;
    least = std::min(least, piece.score);
    most = std::max(most, piece.score);
  }
  trie_ = ByteTrie(std::move(keys));
  unknown_score_ = least - kUnknownPenalty;
  if (rules.sentencepiece) unknown_score_ = static_cast<float>(unknown_score_);
  user_defined_unit_ = most;
  for (size_t byte = 0; byte < 256; ++byte) {
    const auto token =
        rules.byte_fallback ? spec.vocabulary.Find(fmt::format("<0x{:02X}>", byte)) : std::nullopt;
    byte_tokens_[byte] = token.value_or(-1);
  }
}

double UnigramModel::ScoreOf(int32_t token, size_t num_bytes) const {
  const UnigramRules::Piece& piece = rules_.pieces[static_cast<size_t>(token)];
  if (piece.kind != UnigramRules::Kind::kUserDefined) return piece.score;
  return static_cast<float>(num_bytes) * static_cast<float>(user_defined_unit_) - 0.1;
}

// Sums are float32 in the sentencepiece library, which decides between ways of all but equal scores.
template <bool kSingle>
void UnigramModel::FindPath(std::string_view text, std::vector<UnigramCut>& cuts) const {
  cuts.assign(text.size() + 1, {0, -1, 0});
  const auto round = [](double score) {
    return kSingle ? static_cast<double>(static_cast<float>(score)) : score;
  };
  for (size_t begin = 0; begin < text.size();) {
    const double before = cuts[begin].score;
    const size_t char_bytes = CharAt(text, begin).num_bytes;
    bool has_char = false;
    const auto prolong = [&](size_t num_bytes, int32_t token, double score) {
      UnigramCut& cut = cuts[begin + num_bytes];
      if (cut.begin < 0 || score > cut.score) cut = {score, static_cast<int32_t>(begin), token};
    };
    trie_.ForEachPrefix(text.substr(begin), [&](size_t num_bytes, int32_t token) {
      prolong(num_bytes, token, round(ScoreOf(token, num_bytes) + before));
      has_char |= num_bytes == char_bytes;
    });
    if (!has_char) {
      if (unknown_ < 0) {
        throw Error(ErrorKind::kInvalidInput,
                    fmt::format("the vocabulary lacks \"{}\" and has no unknown token; set model.unk_id",
                                text.substr(begin, char_bytes)));
      }
      prolong(char_bytes, unknown_, round(unknown_score_ + before));
    }
    begin += char_bytes;
  }
}

bool UnigramModel::AppendBytes(std::string_view text, std::vector<int32_t>& tokens) const {
  if (!rules_.byte_fallback) return false;
  const auto token_of = [&](char byte) { return byte_tokens_[static_cast<unsigned char>(byte)]; };
  if (std::any_of(text.begin(), text.end(), [&](char byte) { return token_of(byte) < 0; })) return false;
  for (const char byte : text) tokens.push_back(token_of(byte));
  return true;
}

// `text`: neighbouring characters that no piece stands for.
void UnigramModel::AppendUnknown(std::string_view text, std::vector<int32_t>& tokens) const {
  const auto whole = rules_.sentencepiece ? std::nullopt : spec_.vocabulary.Find(text);
  if (whole && *whole < static_cast<int32_t>(rules_.pieces.size())) {
    tokens.push_back(*whole);
  } else if (!AppendBytes(text, tokens)) {
    tokens.push_back(unknown_);
  }
}

void UnigramModel::EncodeText(std::string_view text, EncodeScratch& scratch,
                              std::vector<int32_t>& tokens) const {
  std::vector<UnigramCut>& cuts = scratch.cuts;
  if (rules_.sentencepiece) {
    FindPath<true>(text, cuts);
  } else {
    FindPath<false>(text, cuts);
  }
  // From the end to the beginning, then turned round: a run of unknown characters counts as one.
  const size_t before = tokens.size();
  std::vector<int32_t> run;
  const bool one_by_one = rules_.sentencepiece && rules_.byte_fallback;
  for (size_t end = text.size(); end > 0;) {
    size_t begin = static_cast<size_t>(cuts[end].begin);
    if (cuts[end].token != unknown_) {
      tokens.push_back(cuts[end].token);
    } else {
      while (!one_by_one && begin > 0 && cuts[begin].token == unknown_)
        begin = static_cast<size_t>(cuts[begin].begin);
      run.clear();
      AppendUnknown(text.substr(begin, end - begin), run);
      tokens.insert(tokens.end(), run.rbegin(), run.rend());
    }
    end = begin;
  }
  std::reverse(tokens.begin() + static_cast<std::ptrdiff_t>(before), tokens.end());
}

void UnigramModel::Encode(std::string_view piece, EncodeScratch& scratch,
                          std::vector<int32_t>& tokens) const {
  scratch.EncodeCached(piece, tokens, [&] { EncodeText(piece, scratch, tokens); });
  if (scratch.cuts.capacity() > kKeptCuts) scratch.cuts = {};
}

std::string UnigramModel::Identity() const {
  std::string text = fmt::format("unigram {} {} {}\n", rules_.byte_fallback, rules_.sentencepiece, unknown_);
  for (const UnigramRules::Piece& piece : rules_.pieces) {
    text += fmt::format("{} {}\n", piece.score, static_cast<int>(piece.kind));
  }
  return text;
}

}  // namespace elrea
