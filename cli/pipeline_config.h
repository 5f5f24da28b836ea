// Everything a run is configured by: one YAML file, section by section. Defaults are the paper's.
#pragma once

#include <string>
#include <vector>

#include "cluster/cluster_features.h"
#include "core/options.h"
#include "data/dataset.h"
#include "ensemble/router.h"
#include "ensemble/sampler.h"
#include "eval/evaluate.h"
#include "features/features.h"
#include "train/finetune.h"

namespace elrea {

struct BackboneOptions {
  std::string path;
  std::string dtype = "auto";
  std::string device = "cpu";
  double gpu_memory_utilization = 1;
  std::string quantize = "none";
  int64_t calibration_tokens = 32768;
  std::string codes;
  std::string decode_weights = "auto";
};
template <typename Visitor>
void VisitOptions(BackboneOptions& o, Visitor& v) {
  v.Field("path", o.path,
          "a .gguf file, a Hugging Face directory, or the name of a fetched model (elrea model fetch)");
  v.Field("dtype", o.dtype,
          "of the matrices; auto: bf16 on a GPU and where the processor multiplies it natively, else f32",
          OneOf({"auto", "f32", "bf16"}));
  v.Field("device", o.device, "where it runs", OneOf({"cpu", "cuda"}));
  v.Field("gpu_memory_utilization", o.gpu_memory_utilization,
          "share of a GPU's memory that this program may take, where others use it too", Between(0.01, 1));
  v.Field("quantize", o.quantize,
          "how the layers' frozen matrices are held (QLoRA); none: in dtype; keep: in the file's own codes (GGUF blocks, "
          "bitsandbytes), the same results in less memory; nf4, nf4_double, int8: quantised while loading, in bitsandbytes' "
          "formats",
          OneOf({"none", "keep", "nf4", "nf4_double", "int8"}));
  v.Field("calibration_tokens", o.calibration_tokens,
          "of training rows that a run or study chooses its codes of nf4 and nf4_double with (GPTQ), once; 0: the nearest "
          "codes, as bitsandbytes takes them",
          AtLeast(0));
  v.Field("codes", o.codes,
          "a file of codes that were chosen so (RUN/backbone.safetensors), to use a run's adapters without the run; empty: "
          "the run's own");
  v.Field("decode_weights", o.decode_weights,
          "what tokens are decoded with; packed: a second copy of a GGUF file's weights in their own codes, "
          "faster and "
          "unrounded; dense: the matrices of dtype; auto: packed where dtype is bf16 and the file and "
          "processor allow it",
          OneOf({"auto", "packed", "dense"}));
}

struct RunDataOptions {
  DatasetOptions train;
  std::vector<std::string> validation_files, test_files;
};
template <typename Visitor>
void VisitOptions(RunDataOptions& o, Visitor& v) {
  VisitOptions(o.train, v);
  v.Field("validation_files", o.validation_files,
          "rows whose loss is measured after each epoch, same shapes");
  v.Field("test_files", o.test_files, "held-out rows with answers, for eval");
}

struct ExpertOptions {
  double learning_rate = 2e-5;
  int64_t epochs = 0;
  int64_t batch_size = 0;
  bool equal_steps = true;
  int64_t side_by_side = 0;
};
template <typename Visitor>
void VisitOptions(ExpertOptions& o, Visitor& v) {
  v.Field("learning_rate", o.learning_rate, "of the experts, which start from the base adapter", Above(0));
  v.Field("epochs", o.epochs, "passes over a cluster's rows; 0 = as finetune.epochs", Between(0, 100));
  v.Field("batch_size", o.batch_size, "rows per optimiser step; 0 = as finetune.batch_size", AtLeast(0));
  v.Field("equal_steps", o.equal_steps,
          "each expert's batch is its cluster's share of batch_size, at least one row, so that it takes about as many steps "
          "as training on all rows would; false: batch_size for every expert, as in the paper");
  v.Field("side_by_side", o.side_by_side,
          "experts trained at a time, in passes over rows of all of them; memory grows with it; 1: one after the "
          "other; 0: as many as fill a pass",
          AtLeast(0));
}

struct PipelineConfig {
  BackboneOptions model;
  RunDataOptions data;
  LoraOptions lora;
  FinetuneOptions finetune;
  ExpertOptions experts;
  FeatureOptions features;
  ClusterOptions cluster;
  RoutingOptions routing;
  SamplingOptions generation;
  EvalOptions eval;
};
template <typename Visitor>
void VisitOptions(PipelineConfig& c, Visitor& v) {
  v.Section("model", c.model);
  v.Section("data", c.data);
  v.Section("lora", c.lora);
  v.Section("finetune", c.finetune);
  v.Section("features", c.features);
  v.Section("cluster", c.cluster);
  v.Section("experts", c.experts);
  v.Section("routing", c.routing);
  v.Section("generation", c.generation);
  v.Section("eval", c.eval);
}

// Defaults, then the file (if the path is not empty), then the overrides. Errors as of OptionSet::Load, and
// kInvalidInput for unknown projections or methods: faults are found before hours of training.
PipelineConfig LoadConfig(const fs::path& path, const std::vector<std::string>& overrides);
std::string ConfigYaml(PipelineConfig config);
Json ConfigJson(PipelineConfig config);

// Names of the options in which two configurations differ and that change what is trained; with both values.
// What only steers evaluation, decoding and saving is left out.
std::vector<std::string> DifferencesThatMatter(const PipelineConfig& there, const PipelineConfig& here);

// Fine-tuning options of an expert, whichever its cluster (OptionsOfGroups): those of section experts over those of finetune.
FinetuneOptions ExpertFinetuneOptions(const PipelineConfig& config);

}  // namespace elrea
