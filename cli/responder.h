// Who answers prompts on the command line: a model with or without one adapter, or a method of a run. Both
// are an ensemble underneath, so that generate, chat, score and eval do not tell them apart.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cli/backbone.h"
#include "cli/flags.h"
#include "cli/run_paths.h"
#include "ensemble/ensemble.h"
#include "eval/method.h"

namespace elrea {

// Single-thread use.
struct Responder {
  PipelineConfig config;
  Backbone backbone;
  std::unique_ptr<Ensemble> ensemble;
  const Method* method = nullptr;
  std::unique_ptr<PackedWeights> packed = {};  // null: decoding uses the decoder's matrices

  // With `prefixes`, prompts that begin as a text read before are read from there on.
  Generator MakeGenerator(PrefixCache* prefixes = nullptr) const {
    return Generator(*backbone.decoder, *backbone.tokenizer, backbone.chat->stop_tokens(), {}, packed.get(), prefixes);
  }
  PrefixCache MakePrefixCache() const {
    constexpr int64_t kMaxBytes = int64_t{512} << 20;
    return {*backbone.decoder, kMaxBytes};
  }
};

// `overrides` come on top of the run's own options, or of the defaults. kInvalidInput without --model and
// --run; kNotFound with the command to run when the method needs a stage that is not done.
Responder OpenResponder(const TargetFlags& flags, const std::vector<std::string>& overrides);

// The same for commands that generate text: with what model.decode_weights asks for. Errors also as of
// LoadDecodeWeights.
Responder OpenDecodingResponder(const TargetFlags& flags, const std::vector<std::string>& overrides);

// The checkpoints of a fine-tuning with the options `adam` as feature extraction takes them. Errors as of LoadCheckpoints.
std::vector<FeatureCheckpoint> LoadFeatureCheckpoints(const fs::path& directory, const FinetuneOptions& adam,
                                                      const ModelConfig& model);
// Those of a run's base adapter. kNotFound when the base stage is not done.
std::vector<FeatureCheckpoint> LoadFeatureCheckpoints(const RunPaths& paths, const PipelineConfig& config,
                                                      const ModelConfig& model);

// What of a run an ensemble needs for methods that need `needs`, loaded. Errors as above.
std::unique_ptr<Ensemble> LoadEnsemble(const RunPaths& paths, const PipelineConfig& config,
                                       const Backbone& backbone, MethodNeeds needs);

// {"base": w, "experts": [...], "cosines": [...]} for output.
Json RoutingJson(const Routing& routing);

}  // namespace elrea
