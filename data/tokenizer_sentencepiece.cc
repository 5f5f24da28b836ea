// Every rule here is the sentencepiece library's.
#include "data/tokenizer_sentencepiece.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <set>
#include <utility>

#include "core/error.h"
#include "data/pretokenizer_chars.h"
#include "data/tokenizer_config.h"
#include "data/tokenizer_source.h"

namespace elrea {
namespace {

using Piece = SentencePieceModel::Piece;

[[noreturn]] void ThrowCorrupt(const SentencePieceModel& model, const std::string& fault) {
  throw Error(ErrorKind::kCorrupt,
              fmt::format("{}: {}; the file is damaged, get it again", model.origin, fault));
}

[[noreturn]] void ThrowUnsupported(const SentencePieceModel& model, const std::string& what) {
  throw Error(ErrorKind::kInvalidInput, fmt::format("{}: {} not supported", model.origin, what));
}

// The piece's id, if it is of this type.
std::optional<int32_t> FindTyped(const SentencePieceModel& model, const Vocabulary& vocabulary,
                                 const std::string& text, int64_t type) {
  const auto id = vocabulary.Find(text);
  return id && model.pieces[static_cast<size_t>(*id)].type == type ? id : std::nullopt;
}

void CheckPieces(const SentencePieceModel& model, const Vocabulary& vocabulary) {
  if (model.pieces.empty()) ThrowCorrupt(model, "pieces: there are none");
  int64_t unknowns = 0, bytes = 0;
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    const Piece& piece = model.pieces[id];
    unknowns += piece.type == SentencePieceModel::kUnknown;
    if (vocabulary.Find(piece.text) != static_cast<int32_t>(id))
      ThrowCorrupt(model, fmt::format("pieces[{}] \"{}\" is there twice", id, piece.text));
    if (piece.type != SentencePieceModel::kByte) continue;
    if (!ByteOfFallbackPiece(piece.text))
      ThrowCorrupt(model, fmt::format("pieces[{}] \"{}\" is no byte", id, piece.text));
    ++bytes;
  }
  if (unknowns != 1)
    ThrowCorrupt(model, fmt::format("there are {} pieces of type UNKNOWN, not one", unknowns));
  if (model.byte_fallback && bytes != 256)
    ThrowCorrupt(
        model,
        fmt::format("trainer_spec.byte_fallback is set, but there are {} byte pieces, not 256", bytes));
}

// Merges are ordered by the score of what they make; of equal scores the leftmost goes first.
std::vector<BpeMergeRule> MakeMerges(const SentencePieceModel& model, const Vocabulary& vocabulary) {
  std::set<float, std::greater<>> distinct;
  for (const Piece& piece : model.pieces) distinct.insert(piece.score);
  const std::vector<float> scores(distinct.begin(), distinct.end());
  std::vector<BpeMergeRule> merges;
  const auto part = [&](std::string_view text) {
    return FindTyped(model, vocabulary, std::string(text), SentencePieceModel::kNormal);
  };
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    const Piece& piece = model.pieces[id];
    if (piece.type == SentencePieceModel::kUnused)
      ThrowUnsupported(model, fmt::format("pieces[{}] of type UNUSED in a BPE model is", id));
    if (piece.type != SentencePieceModel::kNormal) continue;
    const auto rank =
        std::lower_bound(scores.begin(), scores.end(), piece.score, std::greater<>()) - scores.begin();
    const std::string_view text = piece.text;
    for (size_t cut = 0; cut < text.size();) {
      const size_t num_bytes = CharAt(text, cut).num_bytes;
      if (num_bytes < text.size() && !vocabulary.Find(text.substr(cut, num_bytes))) {
        ThrowUnsupported(model,
                         fmt::format("pieces[{}] \"{}\" with a character that is no piece is", id, text));
      }
      cut += num_bytes;
      if (cut == text.size()) break;
      const auto left = part(text.substr(0, cut)), right = left ? part(text.substr(cut)) : std::nullopt;
      if (right) merges.push_back({*left, *right, static_cast<int32_t>(id), static_cast<uint32_t>(rank)});
    }
  }
  return merges;
}

BpeRules MakeBpe(const SentencePieceModel& model, const Vocabulary& vocabulary) {
  BpeRules rules;
  rules.merges = MakeMerges(model, vocabulary);
  rules.byte_fallback = model.byte_fallback;
  rules.fuse_unknown = true;
  return rules;
}

UnigramRules MakeUnigram(const SentencePieceModel& model) {
  using Kind = UnigramRules::Kind;
  UnigramRules rules;
  rules.byte_fallback = model.byte_fallback;
  rules.sentencepiece = true;
  for (const Piece& piece : model.pieces) {
    rules.pieces.push_back({piece.score, piece.type == SentencePieceModel::kNormal        ? Kind::kNormal
                                         : piece.type == SentencePieceModel::kUserDefined ? Kind::kUserDefined
                                                                                          : Kind::kNoMatch});
  }
  return rules;
}

// Control pieces, looked for in the raw text, and for BPE the user-defined ones, looked for once it is
// normalised.
std::vector<AddedToken> AddedTokens(const SentencePieceModel& model) {
  std::vector<AddedToken> added;
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    const Piece& piece = model.pieces[id];
    const bool control = piece.type == SentencePieceModel::kControl;
    const bool user =
        piece.type == SentencePieceModel::kUserDefined && model.kind == SentencePieceModel::kBpe;
    if (!control && !user) continue;
    added.push_back({.content = piece.text,
                     .id = static_cast<int32_t>(id),
                     .special = control,
                     .normalized = user,
                     .spelled_normalized = user});
  }
  return added;
}

void SetNormalizer(const SentencePieceModel& model, TokenizerSpec& spec) {
  std::vector<AddedToken> user_defined;
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    if (model.pieces[id].type == SentencePieceModel::kUserDefined)
      user_defined.push_back({.content = model.pieces[id].text, .id = static_cast<int32_t>(id)});
  }
  std::optional<Charsmap> charsmap;
  if (!model.charsmap.empty()) charsmap.emplace(model.charsmap, model.origin + ": normalizer_spec");
  spec.normalizer.Add(std::make_shared<SentencePieceNormalizer>(model.rules, std::move(charsmap),
                                                                AddedTokenMatcher(std::move(user_defined))));
}

}  // namespace

TokenizerSpec MakeSentencePieceSpec(const SentencePieceModel& model) {
  std::vector<std::string> pieces;
  for (const Piece& piece : model.pieces) pieces.push_back(piece.text);
  TokenizerSpec spec;
  spec.vocabulary = Vocabulary(std::move(pieces));
  CheckPieces(model, spec.vocabulary);
  const auto unknown = std::find_if(model.pieces.begin(), model.pieces.end(), [](const Piece& piece) {
    return piece.type == SentencePieceModel::kUnknown;
  });
  spec.unknown = static_cast<int32_t>(unknown - model.pieces.begin());
  if (model.kind == SentencePieceModel::kBpe) {
    spec.model = MakeBpe(model, spec.vocabulary);
  } else if (model.kind == SentencePieceModel::kUnigram) {
    spec.model = MakeUnigram(model);
  } else {
    ThrowUnsupported(model, fmt::format("trainer_spec.model_type {} is not BPE or UNIGRAM and", model.kind));
  }
  spec.added = AddedTokens(model);
  SetNormalizer(model, spec);
  const bool drops = model.rules.add_dummy_prefix || model.rules.remove_extra_whitespaces;
  spec.decoder.Add(TokenDecoder::SentencePiece{drops, model.rules.remove_extra_whitespaces, unknown->text,
                                               model.unknown_surface});
  spec.bos = FindTyped(model, spec.vocabulary, model.bos_piece, SentencePieceModel::kControl);
  spec.eos = FindTyped(model, spec.vocabulary, model.eos_piece, SentencePieceModel::kControl);
  spec.add_bos = spec.bos && model.kind == SentencePieceModel::kBpe;
  return spec;
}

TokenizerSpec ReadSentencePieceTokenizer(const fs::path& tokenizer_model) {
  TokenizerSpec spec = MakeSentencePieceSpec(ReadSentencePieceFile(tokenizer_model));
  std::vector<std::string> pieces = spec.vocabulary.pieces();
  const size_t num_pieces = pieces.size();
  for (AddedToken& token : ReadConfiguredTokens(tokenizer_model.parent_path())) {
    const auto id = static_cast<size_t>(token.id);
    if (token.id < 0 || token.id >= kMaxTokens) {
      throw Error(ErrorKind::kCorrupt,
                  fmt::format("{}: the token \"{}\" of tokenizer_config.json has the id {}",
                              tokenizer_model.string(), token.content, token.id));
    }
    if (id < num_pieces) continue;  // the model says what its own pieces are
    if (id >= pieces.size()) pieces.resize(id + 1);
    pieces[id] = token.content;
    spec.added.push_back(std::move(token));
  }
  if (pieces.size() > num_pieces) spec.vocabulary = Vocabulary(std::move(pieces));
  ReadTokenizerConfig(tokenizer_model.parent_path(), spec);
  return spec;
}

}  // namespace elrea
