// Texts are tokenised, sorted by length, run in batches of about equal work, and put back in order.
#include "encoder/sentence_encoder.h"

#include <ATen/Functions.h>
#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "core/error.h"
#include "core/json.h"
#include "core/log.h"
#include "core/text.h"

namespace elrea {
namespace {

constexpr int64_t kTokensPerBatch = 4096;
constexpr std::string_view kModePrefix = "pooling_mode_";

torch::Tensor Pad(std::span<const std::vector<int32_t>* const> rows, int64_t seq, torch::Tensor& mask) {
  const auto batch = static_cast<int64_t>(rows.size());
  torch::Tensor ids = torch::zeros({batch, seq}, torch::kLong);
  mask = torch::zeros({batch, seq}, torch::kBool);
  for (int64_t row = 0; row < batch; ++row) {
    const std::vector<int32_t>& tokens = *rows[static_cast<size_t>(row)];
    std::copy(tokens.begin(), tokens.end(), ids.data_ptr<int64_t>() + row * seq);
    std::fill_n(mask.data_ptr<bool>() + row * seq, tokens.size(), true);
  }
  return ids;
}

}  // namespace

SentenceEncoder SentenceEncoder::Load(const std::filesystem::path& directory) {
  return WithContext("loading the sentence encoder", [&] {
    SentenceEncoder encoder;
    encoder.weights_ = LoadBertWeights(directory);
    encoder.tokenizer_ = Tokenizer::Load(directory);
    encoder.max_tokens_ = encoder.weights_.config.positions;
    if (encoder.tokenizer_->vocab_size() > encoder.weights_.config.vocab) {
      throw Error(
          ErrorKind::kCorrupt,
          fmt::format("{}: the tokenizer has {} tokens, the model {}; take both from one model",
                      directory.string(), encoder.tokenizer_->vocab_size(), encoder.weights_.config.vocab));
    }
    encoder.ReadModules(directory);
    const auto around = encoder.tokenizer_->text_prefix().size() + encoder.tokenizer_->text_suffix().size();
    if (encoder.max_tokens_ < static_cast<int64_t>(around) ||
        encoder.max_tokens_ > encoder.weights_.config.positions) {
      throw Error(ErrorKind::kCorrupt,
                  fmt::format("{}: max_seq_length is {}; it must be {} to {}", directory.string(),
                              encoder.max_tokens_, around, encoder.weights_.config.positions));
    }
    return encoder;
  });
}

void SentenceEncoder::ReadModules(const std::filesystem::path& directory) {
  // Early versions of the library say max_seq_length, late ones leave it to the tokenizer, whose
  // model_max_length may be a huge number for "none".
  const fs::path limits = directory / "sentence_bert_config.json", modules = directory / "modules.json",
                 tokenizer = directory / "tokenizer_config.json";
  if (fs::exists(tokenizer)) {
    const double limit =
        JsonFieldOr<double>(ReadJsonFile(tokenizer), "model_max_length", 1e30, tokenizer.string());
    if (limit < static_cast<double>(max_tokens_)) max_tokens_ = static_cast<int64_t>(std::max(limit, 0.0));
  }
  if (fs::exists(limits)) {
    max_tokens_ = JsonFieldOr<int64_t>(ReadJsonFile(limits), "max_seq_length", max_tokens_, limits.string());
  }
  if (!fs::exists(modules)) return;
  const Json list = ReadJsonFile(modules);
  if (!list.is_array()) throw Error(ErrorKind::kCorrupt, modules.string() + ": not a list of modules");
  for (const Json& module : list) {
    const auto type = JsonField<std::string>(module, "type", modules.string());
    const std::string kind = type.substr(type.rfind('.') + 1);
    if (kind == "Pooling") {
      const fs::path folder = JsonField<std::string>(module, "path", modules.string());
      ReadPooling(directory / folder.filename() / "config.json");
    } else if (kind == "Normalize") {
      normalize_ = true;
    } else if (kind != "Transformer") {
      throw Error(
          ErrorKind::kInvalidInput,
          fmt::format("{}: a module of type {} is not supported (Transformer, Pooling and Normalize are)",
                      modules.string(), type));
    }
  }
}

void SentenceEncoder::ReadPooling(const std::filesystem::path& config_json) {
  static constexpr std::pair<const char*, Pooling> kPoolings[] = {
      {"mean", Pooling::kMean}, {"cls", Pooling::kFirst}, {"max", Pooling::kMax}};
  const Json config = ReadJsonFile(config_json);
  // One name in late versions of the library, a flag for each kind in early ones.
  std::vector<std::string> modes;
  if (config.contains("pooling_mode")) {
    modes.push_back(JsonField<std::string>(config, "pooling_mode", config_json.string()));
  }
  for (const auto& [key, value] : config.items()) {
    if (!key.starts_with(kModePrefix) || !value.is_boolean() || !value.get<bool>()) continue;
    const std::string mode = key.substr(kModePrefix.size());
    modes.push_back(mode.substr(0, mode.find("_token")));
  }
  if (modes.empty()) return;
  const auto known = std::find_if(std::begin(kPoolings), std::end(kPoolings),
                                  [&](const auto& entry) { return modes.front() == entry.first; });
  if (modes.size() > 1 || known == std::end(kPoolings)) {
    throw Error(ErrorKind::kInvalidInput,
                fmt::format("{}: pooling {} is not supported (one of mean, cls and max is)",
                            config_json.string(), Join(modes, " and ")));
  }
  pooling_ = known->second;
}

std::vector<int32_t> SentenceEncoder::Tokens(const std::string& text, int64_t* num_cut) const {
  const std::vector<int32_t>&prefix = tokenizer_->text_prefix(), &suffix = tokenizer_->text_suffix();
  std::vector<int32_t> tokens = prefix;
  const std::vector<int32_t> inner = tokenizer_->Encode(text, SpecialTokens::kParse);
  const auto room = static_cast<size_t>(max_tokens_) - prefix.size() - suffix.size();
  if (inner.size() > room && num_cut != nullptr) ++*num_cut;
  tokens.insert(tokens.end(), inner.begin(),
                inner.begin() + static_cast<std::ptrdiff_t>(std::min(room, inner.size())));
  tokens.insert(tokens.end(), suffix.begin(), suffix.end());
  return tokens;
}

torch::Tensor SentenceEncoder::EmbedBatch(std::span<const std::vector<int32_t>* const> rows) const {
  const auto seq = static_cast<int64_t>(rows.back()->size());  // the longest comes last
  torch::Tensor mask;
  const torch::Tensor ids = Pad(rows, seq, mask);
  const torch::Tensor x = BertForward(weights_, ids, mask);  // [batch, seq, dim]
  const torch::Tensor real = mask.unsqueeze(2);              // [batch, seq, 1]
  torch::Tensor pooled;                                      // [batch, dim]
  if (pooling_ == Pooling::kFirst) {
    pooled = x.select(1, 0);
  } else if (pooling_ == Pooling::kMax) {
    pooled = x.masked_fill(real.logical_not(), -1e9).amax(1);
  } else {
    pooled = (x * real).sum(1) / real.sum(1).clamp_min(1);
  }
  return normalize_ ? pooled / pooled.norm(2, 1, true).clamp_min(1e-12) : pooled;
}

torch::Tensor SentenceEncoder::Embed(std::span<const std::string> texts, int64_t* num_cut) const {
  std::vector<std::vector<int32_t>> tokens;
  for (const std::string& text : texts) {
    tokens.push_back(Tokens(text, num_cut));
    if (tokens.back().empty()) tokens.back().push_back(0);  // a tokenizer without [CLS], an empty text
  }
  std::vector<size_t> order(tokens.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return tokens[a].size() < tokens[b].size(); });
  torch::Tensor embeddings = torch::empty({static_cast<int64_t>(texts.size()), dim()});
  Progress progress("embed", static_cast<int64_t>(texts.size()), "texts");
  for (size_t begin = 0; begin < order.size();) {
    std::vector<const std::vector<int32_t>*> rows;
    std::vector<int64_t> places;
    for (size_t i = begin; i < order.size(); ++i) {
      const std::vector<int32_t>& row = tokens[order[i]];
      if (!rows.empty() && (rows.size() + 1) * row.size() > kTokensPerBatch) break;
      rows.push_back(&row);
      places.push_back(static_cast<int64_t>(order[i]));
    }
    embeddings.index_copy_(0, torch::tensor(places, torch::kLong), EmbedBatch(rows));
    begin += rows.size();
    progress.Add(static_cast<int64_t>(rows.size()));
  }
  return embeddings;
}

}  // namespace elrea
