#include "ensemble/expert_bank.h"

#include <fmt/format.h>

#include "core/error.h"
#include "lora/adapter_file.h"

namespace elrea {

std::unique_ptr<ExpertBank::Entry> ExpertBank::LoadEntry(const Decoder& decoder,
                                                         const std::filesystem::path& directory) {
  const Adapter adapter = LoadAdapter(directory, decoder.config());
  RequireBackbone(adapter, directory.string(), decoder.weights().fingerprint, decoder.weights().origin);
  auto entry = std::make_unique<Entry>();
  entry->layout = std::make_unique<AdapterLayout>(decoder.config(), adapter.config);
  entry->weights = std::make_unique<LoraWeights>(*entry->layout, adapter, decoder.dtype(), decoder.device());
  return entry;
}

ExpertBank::ExpertBank(const Decoder& decoder, const std::filesystem::path& base_directory,
                       const std::vector<std::filesystem::path>& expert_directories) {
  base_ = WithContext("loading the base adapter", [&] { return LoadEntry(decoder, base_directory); });
  for (size_t c = 0; c < expert_directories.size(); ++c) {
    experts_.push_back(WithContext(fmt::format("loading expert {}", c),
                                   [&] { return LoadEntry(decoder, expert_directories[c]); }));
  }
}

std::vector<MixtureMember> ExpertBank::Members(const Routing& routing) const {
  if (routing.weights.size() != experts_.size()) {
    throw Error(ErrorKind::kInvalidInput,
                fmt::format("the routing is over {} clusters, but there are {} experts; run `elrea experts`",
                            routing.weights.size(), experts_.size()));
  }
  std::vector<MixtureMember> members;
  if (routing.base_weight > 0) members.push_back({base(), routing.base_weight});
  for (size_t c = 0; c < experts_.size(); ++c) {
    if (routing.weights[c] > 0) members.push_back({expert(static_cast<int64_t>(c)), routing.weights[c]});
  }
  if (members.empty()) {
    throw Error(ErrorKind::kInvalidInput, "no adapter has a weight above zero");
  }
  return members;
}

}  // namespace elrea
