// Fine-tunes one LoRA adapter on token rows: next-token cross-entropy on response tokens, Adam, linear decay to zero
// (method section 1). Base and expert adapters are this same function with other rows and another start.
//
// Directory written (docs/formats.md): checkpoint-<epoch>/ with adapter and Adam moments (checkpoint-0: the start),
// metrics.jsonl with the rows of each step, the final adapter beside them, and finetune.json. state.safetensors exists
// while training is under way: a killed run goes on from it and ends with the same bytes as one that was never killed.
#pragma once

#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "core/options.h"
#include "data/dataset.h"
#include "lora/adapter.h"
#include "model/decoder.h"

namespace elrea {

struct LoraOptions {
  int64_t rank = 8;
  double alpha = 0;  // 0: 4 * rank, as in the paper
  std::vector<std::string> target_modules = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"};
};
template <typename Visitor>
void VisitOptions(LoraOptions& o, Visitor& v) {
  v.Field("rank", o.rank, "rank of every pair A [rank, in], B [out, rank]; cost grows linearly", Between(1, 1024));
  v.Field("alpha", o.alpha, "delta W = alpha / rank * B A; 0 means 4 * rank", AtLeast(0));
  v.Field("target_modules", o.target_modules, "projections that get a pair");
}
// kInvalidInput for an unknown module name.
AdapterConfig MakeAdapterConfig(const LoraOptions& options);

struct FinetuneOptions {
  int64_t epochs = 2;
  int64_t batch_size = 16;
  double learning_rate = 5e-5;
  double dropout = 0.1;
  double warmup_fraction = 0;
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;
  double weight_decay = 0;
  double max_grad_norm = 0;
  int64_t max_tokens_per_pass = 2048;
  int64_t bucket_batches = 8;
  int64_t validate_rows = 256;
  double checkpoint_every_s = 20;
  int64_t seed = 0;
};
template <typename Visitor>
void VisitOptions(FinetuneOptions& o, Visitor& v) {
  v.Field("epochs", o.epochs, "passes over the rows; one checkpoint with Adam moments is kept for each", Between(1, 100));
  v.Field("batch_size", o.batch_size, "rows per optimiser step", AtLeast(1));
  v.Field("learning_rate", o.learning_rate, "at the first step; decays linearly to zero", Above(0));
  v.Field("dropout", o.dropout, "on the input of every pair, in training only", FromUpTo(0, 1));
  v.Field("warmup_fraction", o.warmup_fraction, "share of the steps over which the rate first rises from zero", FromUpTo(0, 1));
  v.Field("beta1", o.beta1, "Adam: decay of the first moment", FromUpTo(0, 1));
  v.Field("beta2", o.beta2, "Adam: decay of the second moment", FromUpTo(0, 1));
  v.Field("epsilon", o.epsilon, "Adam: added to the root of the second moment", Above(0));
  v.Field("weight_decay", o.weight_decay, "decoupled decay (AdamW); the paper uses none", AtLeast(0));
  v.Field("max_grad_norm", o.max_grad_norm, "gradients with a larger norm are scaled down to it; 0 = off", AtLeast(0));
  v.Field("max_tokens_per_pass", o.max_tokens_per_pass, "a batch is cut into passes of at most this many tokens (gradient accumulation); memory grows with it", AtLeast(1));
  v.Field("bucket_batches", o.bucket_batches, "rows are sorted by length inside groups of this many batches; 1 = off", AtLeast(1));
  v.Field("validate_rows", o.validate_rows, "validation rows scored after each epoch, at most", AtLeast(0));
  v.Field("checkpoint_every_s", o.checkpoint_every_s, "seconds between saved states; a killed run loses at most this", AtLeast(0));
  v.Field("seed", o.seed, "of initialisation, order and dropout", AtLeast(0));
}

struct FinetuneJob {
  std::string label;  // of progress and messages: "base", "expert 3"
  const Decoder* decoder;
  Adapter start;
  std::vector<const TokenRow*> rows;
  std::vector<const TokenRow*> validation;  // may be empty
  std::filesystem::path directory;
  // Asked after every optimiser step with the number taken so far; false saves the state and ends with kUnavailable.
  // Empty: never stops.
  std::function<bool(int64_t steps)> keep_going = {};
};

struct FinetuneResult {
  Adapter adapter;
  int64_t steps = 0, tokens = 0;     // real tokens over all epochs
  double final_loss = 0;             // mean training loss of the last epoch
  double validation_loss = -1;       // after the last epoch; negative without validation rows
  double seconds = 0;                // of training over all sessions
};

// Returns at once when the directory holds the finished result of the same job. kInvalidInput when it holds another
// job's (other rows, options, start or backbone) or no rows are given, or the loss is not finite (names step and rows).
FinetuneResult Finetune(const FinetuneJob& job, const FinetuneOptions& options);

// A job with options of its own; those of passes and saving must be the same for all that go side by side.
struct Finetuning {
  FinetuneJob job;
  FinetuneOptions options;
};
struct SideBySide {
  std::string label;                // of progress: "experts"
  std::filesystem::path directory;  // keeps the state of all; the jobs' directories lie in it
  int64_t count = 1;                // fine-tunings under way at a time; when one is done, the next begins
};

// Fine-tunes all, several side by side: each takes its own steps on its own rows, but the rows of a step of all are
// packed into the same passes, so that short steps fill them. Gives the adapters that Finetune gives each alone, up to
// the rounding of sums over other passes. Results in the order of `all`. REQUIRES: one backbone and adapter layout.
std::vector<FinetuneResult> FinetuneSideBySide(const std::vector<Finetuning>& all, const SideBySide& how);

// How many fine-tunings side by side fill a pass on average, at least 1 and at most all; fewer when their states would
// take more than 2 GiB. Where the rows of a single step fill it, more would gain nothing. REQUIRES: not empty.
int64_t SideBySideToFillPasses(const std::vector<Finetuning>& all);

// A kept checkpoint of an epoch.
struct AdamMoments {
  torch::Tensor m, v;  // [num_params] f32
  int64_t steps = 0;   // optimiser steps taken
};
struct EpochCheckpoint {
  Adapter adapter;
  AdamMoments moments;
};
// Those of all epochs, oldest first. kNotFound, kCorrupt.
std::vector<EpochCheckpoint> LoadCheckpoints(const std::filesystem::path& directory, const ModelConfig& model);

// Mean response loss (nats per token) over rows; `delta` may be null.
double ResponseLoss(const Decoder& decoder, LinearDelta* delta, std::span<const TokenRow* const> rows,
                    int64_t max_tokens_per_pass);

}  // namespace elrea
