// The ensemble on other features of the instruction: gradients seen otherwise, or no gradients at all.
#include <fmt/format.h>

#include <algorithm>

#include "study/method.h"
#include "study/other_features.h"

namespace elrea {
namespace {

void NoMomentum(Variant& v) { v.features.momentum = "excluded"; }
void LastCheckpoint(Variant& v) { v.features.checkpoints = "last"; }

template <int64_t Length>
void OfLength(Variant& v) {
  v.features.projection_dim = Length;
}

template <int64_t Length>
StudyMethod LengthMethod() {
  return {fmt::format("d_proj_{}", Length), fmt::format("features of {} numbers", Length), "ablation",
          Changed<OfLength<Length>>, Length};
}

// Only the last 1 / Parts of the model's blocks.
template <int64_t Parts>
StudyPlan TopBlocks(Workbench& bench) {
  Variant variant{bench.job().features, bench.job().cluster, bench.job().routing};
  variant.features.top_blocks = std::max<int64_t>(1, bench.job().decoder->config().layers / Parts);
  return PlanOf(bench, variant);
}

StudyPlan OnFeatures(Workbench& bench, const StudyFeatures& features) {
  return RoutedPlan(bench, features, bench.Clusters(features, bench.job().cluster), bench.job().routing);
}

StudyPlan InstructionEmbedding(Workbench& bench) { return OnFeatures(bench, InstructionEmbeddings(bench)); }
StudyPlan HiddenStates(Workbench& bench) { return OnFeatures(bench, HiddenStateFeatures(bench)); }

}  // namespace

std::vector<StudyMethod> FeatureMethods() {
  return {
      {"instruction_embedding", "a sentence encoder's vectors in place of gradients", "paper",
       InstructionEmbedding},
      {"hidden_states", "mean hidden states of the instruction in place of gradients", "beyond",
       HiddenStates},
      {"no_momentum", "features without Adam's first moment", "ablation", Changed<NoMomentum>},
      {"last_checkpoint", "features of the last checkpoint only", "ablation", Changed<LastCheckpoint>},
      {"top_half_blocks", "gradients of the upper half of the blocks only", "ablation", TopBlocks<2>},
      {"top_quarter_blocks", "gradients of the upper quarter of the blocks only", "ablation", TopBlocks<4>},
      LengthMethod<512>(),
      LengthMethod<1024>(),
      LengthMethod<2048>(),
      LengthMethod<4096>(),
      LengthMethod<8192>(),
  };
}

}  // namespace elrea
