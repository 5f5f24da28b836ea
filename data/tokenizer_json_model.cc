// The "model" section of a tokenizer.json.
#include <fmt/format.h>

#include <cmath>
#include <utility>

#include "core/error.h"
#include "data/tokenizer_source.h"

namespace elrea {
namespace {

void Place(const TokenizerSource& source, const std::string& piece, int64_t id,
           std::vector<std::string>& pieces) {
  if (id < 0 || id >= kMaxTokens) {
    ThrowCorrupt(source, fmt::format("the id {} of token \"{}\" is out of range", id, piece));
  }
  if (id >= static_cast<int64_t>(pieces.size())) pieces.resize(static_cast<size_t>(id) + 1);
  pieces[static_cast<size_t>(id)] = piece;
}

// ["a", "b"], or "a b" in older files.
std::pair<std::string_view, std::string_view> MergeParts(const TokenizerSource& source,
                                                         const SortedJson& merge, size_t rank) {
  if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
    return {merge[0].get_ref<const std::string&>(), merge[1].get_ref<const std::string&>()};
  }
  if (merge.is_string()) {
    const std::string_view line = merge.get_ref<const std::string&>();
    const size_t space = line.find(' ');
    if (space != std::string_view::npos) return {line.substr(0, space), line.substr(space + 1)};
  }
  ThrowCorrupt(source, fmt::format("model.merges[{}] is not two pieces but {}", rank, JsonExcerpt(merge)));
}

// `prefix`: of pieces that go on a word; the merged piece has the left one's only.
std::vector<BpeMergeRule> ReadMerges(const TokenizerSource& source, const SortedJson& model,
                                     const Vocabulary& vocabulary, size_t prefix_bytes) {
  const SortedJson& list = Section(source, model, "merges", false);
  std::vector<BpeMergeRule> merges;
  merges.reserve(list.size());
  std::string whole;
  for (const SortedJson& merge : list) {
    const auto [left, right] = MergeParts(source, merge, merges.size());
    whole.assign(left).append(right.substr(std::min(prefix_bytes, right.size())));
    const auto left_id = vocabulary.Find(left), right_id = vocabulary.Find(right),
               merged_id = vocabulary.Find(whole);
    if (!left_id || !right_id || !merged_id) {
      ThrowCorrupt(source, fmt::format("model.merges[{}] ({}) has a part that is not in model.vocab",
                                       merges.size(), JsonExcerpt(merge)));
    }
    merges.push_back({*left_id, *right_id, *merged_id, static_cast<uint32_t>(merges.size())});
  }
  return merges;
}

// A vocabulary of [piece, score].
std::vector<std::string> ReadScoredPieces(const TokenizerSource& source, const SortedJson& vocab) {
  std::vector<std::string> pieces;
  for (const SortedJson& entry : vocab) {
    if (!entry.is_array() || entry.size() != 2 || !entry[0].is_string() || !entry[1].is_number()) {
      ThrowCorrupt(source, fmt::format("model.vocab[{}] is not a piece and its score but {}", pieces.size(),
                                       JsonExcerpt(entry)));
    }
    Place(source, entry[0].get<std::string>(), static_cast<int64_t>(pieces.size()), pieces);
  }
  return pieces;
}

std::vector<std::string> ReadPieces(const TokenizerSource& source, const SortedJson& vocab) {
  std::vector<std::string> pieces;
  pieces.reserve(vocab.size());
  for (const auto& [piece, id] : vocab.items()) {
    if (!id.is_number_integer()) {
      ThrowCorrupt(source, fmt::format("model.vocab: the id of \"{}\" is not an integer", piece));
    }
    Place(source, piece, id.get<int64_t>(), pieces);
  }
  return pieces;
}

void ReadUnknown(const TokenizerSource& source, const SortedJson& model, TokenizerSpec& spec) {
  const auto unknown = JsonFieldOr<std::string>(model, "unk_token", "", source.origin + ": model");
  if (unknown.empty()) return;
  spec.unknown = spec.vocabulary.Find(unknown);
  if (!spec.unknown)
    ThrowCorrupt(source, fmt::format("model.unk_token \"{}\" is not in model.vocab", unknown));
}

BpeRules ReadBpe(const TokenizerSource& source, const SortedJson& model, TokenizerSpec& spec) {
  const std::string here = source.origin + ": model";
  if (JsonFieldOr<double>(model, "dropout", 0.0, here) > 0.0) {
    throw Error(ErrorKind::kInvalidInput,
                source.origin + ": model.dropout makes encoding random and is not supported; set it to null");
  }
  BpeRules rules;
  rules.byte_fallback = JsonFieldOr<bool>(model, "byte_fallback", false, here);
  rules.ignore_merges = JsonFieldOr<bool>(model, "ignore_merges", false, here);
  rules.fuse_unknown = JsonFieldOr<bool>(model, "fuse_unk", false, here);
  rules.continuing_prefix = JsonFieldOr<std::string>(model, "continuing_subword_prefix", "", here);
  rules.word_suffix = JsonFieldOr<std::string>(model, "end_of_word_suffix", "", here);
  rules.merges = ReadMerges(source, model, spec.vocabulary, rules.continuing_prefix.size());
  // Merging bytes as they are is faster than merging the characters that stand for them, and the same.
  const bool plain = !rules.byte_fallback && !rules.fuse_unknown && rules.continuing_prefix.empty() &&
                     rules.word_suffix.empty();
  rules.byte_level = plain && spec.pre_tokenizer.TakeByteAlphabet();
  return rules;
}

WordPieceRules ReadWordPiece(const TokenizerSource& source, const SortedJson& model) {
  const std::string here = source.origin + ": model";
  WordPieceRules rules;
  rules.continuing_prefix =
      JsonFieldOr<std::string>(model, "continuing_subword_prefix", rules.continuing_prefix, here);
  rules.max_word_chars = JsonFieldOr<int64_t>(model, "max_input_chars_per_word", rules.max_word_chars, here);
  return rules;
}

UnigramRules ReadUnigram(const TokenizerSource& source, const SortedJson& model, TokenizerSpec& spec) {
  UnigramRules rules;
  rules.byte_fallback = JsonFieldOr<bool>(model, "byte_fallback", false, source.origin + ": model");
  for (const SortedJson& entry : Section(source, model, "vocab", false)) {
    const double score = entry[1].get<double>();
    if (!std::isfinite(score)) {
      ThrowCorrupt(source, fmt::format("model.vocab[{}] has no finite score", rules.pieces.size()));
    }
    rules.pieces.push_back({score, UnigramRules::Kind::kNormal});
  }
  const auto unknown = JsonFieldOr<int64_t>(model, "unk_id", -1, source.origin + ": model");
  if (unknown >= static_cast<int64_t>(rules.pieces.size()) || unknown < -1) {
    ThrowCorrupt(source,
                 fmt::format("model.unk_id is {}, but there are {} pieces", unknown, rules.pieces.size()));
  }
  if (unknown >= 0) spec.unknown = static_cast<int32_t>(unknown);
  return rules;
}

// Files of early versions name no type.
std::string TypeOf(const TokenizerSource& source, const SortedJson& model) {
  const auto vocab = model.find("vocab");
  const char* guess = model.contains("merges")                      ? "BPE"
                      : vocab != model.end() && vocab->is_array()   ? "Unigram"
                      : model.contains("continuing_subword_prefix") ? "WordPiece"
                                                                    : "unknown";
  return JsonFieldOr<std::string>(model, "type", guess, source.origin + ": model");
}

}  // namespace

Vocabulary ReadVocabulary(const TokenizerSource& source, const SortedJson& model,
                          const std::vector<AddedToken>& added) {
  const bool scored = TypeOf(source, model) == "Unigram";
  const SortedJson& vocab = Section(source, model, "vocab", !scored);
  if (vocab.empty()) ThrowCorrupt(source, "model.vocab is missing or empty");
  std::vector<std::string> pieces = scored ? ReadScoredPieces(source, vocab) : ReadPieces(source, vocab);
  for (const AddedToken& token : added) Place(source, token.content, token.id, pieces);
  return Vocabulary(std::move(pieces));
}

void ReadModel(const TokenizerSource& source, const SortedJson& model, TokenizerSpec& spec) {
  const std::string type = TypeOf(source, model);
  if (type != "Unigram") ReadUnknown(source, model, spec);
  if (type == "BPE") {
    spec.model = ReadBpe(source, model, spec);
  } else if (type == "WordPiece") {
    spec.model = ReadWordPiece(source, model);
  } else if (type == "Unigram") {
    spec.model = ReadUnigram(source, model, spec);
  } else {
    throw Error(ErrorKind::kInvalidInput,
                fmt::format("{}: model.type {} is not supported, only BPE, WordPiece and Unigram are",
                            source.origin, type));
  }
}

}  // namespace elrea
