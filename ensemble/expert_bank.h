// The adapters of one run, loaded once and shared by all requests: the base adapter and one expert per
// cluster.
#pragma once

#include <filesystem>
#include <memory>
#include <vector>

#include "ensemble/generate.h"
#include "ensemble/router.h"
#include "lora/lora_weights.h"
#include "model/decoder.h"

namespace elrea {

// Const-shareable after construction. The decoder must outlive it.
class ExpertBank {
 public:
  // No adapters: only the backbone can answer.
  ExpertBank() = default;
  // Loads the base adapter and the experts in the order of their clusters; `expert_directories` may be empty.
  // Errors as of LoadAdapter, and kInvalidInput naming the folder when an adapter was trained on another
  // backbone.
  ExpertBank(const Decoder& decoder, const std::filesystem::path& base_directory,
             const std::vector<std::filesystem::path>& expert_directories);

  bool has_base() const { return base_ != nullptr; }
  int64_t num_experts() const { return static_cast<int64_t>(experts_.size()); }
  // REQUIRES: has_base().
  const LoraWeights* base() const { return base_->weights.get(); }
  const LoraWeights* expert(int64_t cluster) const { return experts_[cluster]->weights.get(); }

  // Those of the base and the experts that have a weight above zero. kInvalidInput when none has one.
  std::vector<MixtureMember> Members(const Routing& routing) const;

 private:
  struct Entry {
    std::unique_ptr<AdapterLayout> layout;
    std::unique_ptr<LoraWeights> weights;
  };
  static std::unique_ptr<Entry> LoadEntry(const Decoder& decoder, const std::filesystem::path& directory);

  std::unique_ptr<Entry> base_;
  std::vector<std::unique_ptr<Entry>> experts_;
};

}  // namespace elrea
