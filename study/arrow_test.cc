#include "study/arrow.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "lora/gate.h"
#include "lora/testing.h"
#include "model/testing.h"
#include "study/merge_adapters.h"

namespace elrea {
namespace {

using torch::Tensor;

// The singular vectors of the whole update are the twin, up to sign.
TEST(ArrowRows, AreTheFirstRightSingularVectorsOfEachExpertsUpdate) {
  const ModelConfig model = TinyLlamaConfig();
  const AdapterConfig config{.rank = 4, .alpha = 8};
  const std::vector<Adapter> experts = {MakeRandomAdapter(model, config, 1),
                                        MakeRandomAdapter(model, config, 2)};
  const Adapter joined = ConcatenateAdapters(model, {&experts[0], &experts[1]}, {1, 1});
  const AdapterLayout layout(model, joined.config), own(model, config);
  const Tensor flat = ArrowRows(layout, joined.params, 2);
  const Gate gate(layout, 2, GateScore::kAbsolute, flat);
  for (int64_t layer = 0; layer < model.layers; ++layer) {
    for (LinearGroup id : {LinearGroup::kQkv, LinearGroup::kDown}) {
      const Tensor rows = gate.Rows(flat, layer, id);
      for (size_t s = 0; s < layout.group(layer, id).slots.size(); ++s) {
        for (size_t c = 0; c < experts.size(); ++c) {
          const Tensor update =
              own.B(experts[c].params, layer, id, s).mm(own.A(experts[c].params, layer, id, s));
          const auto [u, values, vh] = at::linalg_svd(update, false);
          const Tensor row = rows[static_cast<int64_t>(s * experts.size() + c)];
          EXPECT_NEAR((row * vh[0]).sum().abs().item<float>(), 1, 1e-4);
        }
      }
    }
  }
}

TEST(ArrowRows, OfAnAdapterThatChangesNothingAreZero) {
  const ModelConfig model = TinyLlamaConfig();
  const Adapter fresh = MakeAdapter(model, {.rank = 4, .alpha = 8}, 1);
  EXPECT_EQ(ArrowRows(AdapterLayout(model, fresh.config), fresh.params, 2).abs().max().item<float>(), 0);
}

}  // namespace
}  // namespace elrea
