// Field numbers: sentencepiece_model.proto.
#include "data/sentencepiece_file.h"

#include <fmt/format.h>

#include <cmath>

#include "core/error.h"
#include "data/protobuf_wire.h"
#include "data/tokenizer_source.h"

namespace elrea {
namespace {

constexpr size_t kMaxPieceBytes = 1024;  // four times the longest of real vocabularies

class Reader {
 public:
  explicit Reader(SentencePieceModel& model) : model_(model), origin_(model.origin) {}

  void ReadModel(std::string_view message) {
    ForEachWireField(message, origin_, [&](const WireField& field) {
      switch (field.number()) {
        case 1:
          ReadPiece(field.Bytes("pieces"));
          break;
        case 2:
          ReadTrainerSpec(field.Bytes("trainer_spec"));
          break;
        case 3:
          ReadNormalizerSpec(field.Bytes("normalizer_spec"));
          break;
        case 5:
          RefuseDenormalizer(field.Bytes("denormalizer_spec"));
          break;
        default:
          break;  // self_test_data, and what later versions add
      }
    });
  }

 private:
  [[noreturn]] void ThrowCorrupt(const std::string& fault) const {
    throw Error(ErrorKind::kCorrupt,
                fmt::format("{}: {}; the file is damaged, get it again", origin_, fault));
  }

  void ReadPiece(std::string_view message) {
    SentencePieceModel::Piece piece;
    const std::string here = fmt::format("{}: pieces[{}]", origin_, model_.pieces.size());
    ForEachWireField(message, here, [&](const WireField& field) {
      if (field.number() == 1) piece.text = field.Text("piece");
      if (field.number() == 2) piece.score = field.Float("score");
      if (field.number() == 3) piece.type = field.Int("type");
    });
    if (piece.text.empty()) ThrowCorrupt(fmt::format("pieces[{}].piece is empty", model_.pieces.size()));
    if (piece.text.size() > kMaxPieceBytes)
      ThrowCorrupt(fmt::format("pieces[{}].piece is {} bytes long", model_.pieces.size(), piece.text.size()));
    if (!std::isfinite(piece.score))
      ThrowCorrupt(fmt::format("pieces[{}].score is not finite", model_.pieces.size()));
    if (piece.type < SentencePieceModel::kNormal || piece.type > SentencePieceModel::kByte)
      ThrowCorrupt(fmt::format("pieces[{}].type is {}", model_.pieces.size(), piece.type));
    if (static_cast<int64_t>(model_.pieces.size()) == kMaxTokens) ThrowCorrupt("there are too many pieces");
    model_.pieces.push_back(std::move(piece));
  }

  void ReadTrainerSpec(std::string_view message) {
    ForEachWireField(message, origin_ + ": trainer_spec", [&](const WireField& field) {
      switch (field.number()) {
        case 3:
          model_.kind = field.Int("model_type");
          break;
        case 24:
          model_.rules.whitespace_as_suffix = field.Bool("treat_whitespace_as_suffix");
          break;
        case 35:
          model_.byte_fallback = field.Bool("byte_fallback");
          break;
        case 44:
          model_.unknown_surface = field.Text("unk_surface");
          break;
        case 46:
          model_.bos_piece = field.Text("bos_piece");
          break;
        case 47:
          model_.eos_piece = field.Text("eos_piece");
          break;
        default:
          break;  // how it was trained
      }
    });
  }

  void ReadNormalizerSpec(std::string_view message) {
    ForEachWireField(message, origin_ + ": normalizer_spec", [&](const WireField& field) {
      switch (field.number()) {
        case 2:
          model_.charsmap = field.Bytes("precompiled_charsmap");
          break;
        case 3:
          model_.rules.add_dummy_prefix = field.Bool("add_dummy_prefix");
          break;
        case 4:
          model_.rules.remove_extra_whitespaces = field.Bool("remove_extra_whitespaces");
          break;
        case 5:
          model_.rules.escape_whitespaces = field.Bool("escape_whitespaces");
          break;
        default:
          break;  // its name and source
      }
    });
  }

  void RefuseDenormalizer(std::string_view message) {
    ForEachWireField(message, origin_ + ": denormalizer_spec", [&](const WireField& field) {
      if (field.number() == 2 && !field.Bytes("precompiled_charsmap").empty()) {
        throw Error(ErrorKind::kInvalidInput,
                    origin_ + ": denormalizer_spec.precompiled_charsmap is not supported");
      }
    });
  }

  SentencePieceModel& model_;
  const std::string& origin_;
};

}  // namespace

SentencePieceModel ReadSentencePieceFile(const fs::path& path) {
  const MappedFile file(path);
  SentencePieceModel model;
  model.origin = path.string();
  Reader(model).ReadModel({reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()});
  return model;
}

}  // namespace elrea
