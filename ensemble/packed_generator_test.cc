// Texts under packed weights, where the decode engine reads adapters through views by their addresses.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <optional>

#include "core/temp_dir.h"
#include "ensemble/generate.h"
#include "ensemble/testing.h"
#include "lora/testing.h"
#include "model/packed_matrix.h"
#include "model/packed_weights.h"
#include "model/testing.h"
#include "model/testing_packed.h"

namespace elrea {
namespace {

// Adapters made for single requests die when these end, and the next may lie where the last one lay.
TEST(PackedGenerator, AnAdapterInThePlaceOfADeadOneIsReadAnew) {
  if (!PackedMatrix::Serves(GgmlType::kQ8_0, 16, 32)) GTEST_SKIP() << "this processor lacks AVX-512 VNNI";
  const TempDir folder;
  WriteMixedGguf(SmallLlama(), folder / "model.gguf");
  std::string why_not;
  const auto packed = LoadPackedWeights(folder / "model.gguf", why_not);
  ASSERT_NE(packed, nullptr) << why_not;
  const Decoder decoder(LoadModelWeights(folder / "model.gguf", torch::kFloat));
  const AdapterConfig config{.rank = 4, .alpha = 64};
  const AdapterLayout layout(decoder.config(), config);
  const LetterTokenizer tokenizer(decoder.config().vocab);
  const auto generator = [&] { return Generator(decoder, tokenizer, {}, {}, packed.get()); };

  std::optional<LoraWeights> place;
  const auto tokens = [&](Generator& with) {
    GenerateRequest request{RandomTokens(6, decoder.config().vocab, 3), {{&*place, 1.0}}, {}};
    request.sampling.max_new_tokens = 12;
    return with.Run({request})[0].tokens;
  };
  Generator kept = generator();
  std::vector<std::vector<int32_t>> texts;
  for (uint64_t seed : {21, 22, 23}) {
    place.emplace(layout, MakeRandomAdapter(decoder.config(), config, seed), torch::kFloat, torch::kCPU);
    Generator fresh = generator();
    texts.push_back(tokens(fresh));
    EXPECT_EQ(tokens(kept), texts.back()) << seed;
  }
  EXPECT_NE(texts[0], texts[1]);  // or the test would see nothing
}

}  // namespace
}  // namespace elrea
