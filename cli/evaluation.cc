#include "cli/evaluation.h"

#include <algorithm>

#include "cli/responder.h"
#include "cli/run_data.h"
#include "cluster/clusters_file.h"
#include "core/error.h"
#include "core/log.h"

namespace elrea {
namespace {

std::string AdapterChecksum(const fs::path& directory) {
  return FileChecksumHex(directory / "adapter_model.safetensors");
}

// What the answers of a run's method depend on, beside rows and decoding.
Json MethodIdentity(const Method& method, const RunPaths& paths, PipelineConfig config,
                    const Ensemble& ensemble) {
  Json identity = {{"backbone", ensemble.decoder().weights().fingerprint}};
  if (method.needs >= MethodNeeds::kBase) identity["base"] = AdapterChecksum(paths.base());
  if (method.needs >= MethodNeeds::kExperts) {
    identity["clusters"] = FileChecksumHex(paths.clusters() / kCentroidsFileName);
    Json experts = Json::array();
    for (int64_t c = 0; c < ensemble.bank().num_experts(); ++c)
      experts.push_back(AdapterChecksum(paths.expert(c)));
    identity["experts"] = experts;
    identity["routing"] = OptionSet(config.routing).ToJson();
  }
  return identity;
}

MethodNeeds LargestNeed(const std::vector<std::string>& methods) {
  MethodNeeds needs = MethodNeeds::kBackbone;
  for (const std::string& name : methods) needs = std::max(needs, FindMethod(name).needs);
  return needs;
}

// What the evaluation of a run and that of a model have alike; rows, directory and identities are the caller's.
EvalJob MakeJob(const PipelineConfig& config, const Backbone& backbone, Ensemble& ensemble,
                const PackedWeights* packed, const EvaluationRequest& request) {
  EvalJob job;
  job.ensemble = &ensemble;
  job.tokenizer = backbone.tokenizer.get();
  job.chat = backbone.chat.get();
  job.sampling = config.generation;
  job.on_chunk = request.on_chunk;
  job.packed = packed;
  return job;
}

EvalReport EvaluateMethods(const RunPaths& paths, const PipelineConfig& config, const Backbone& backbone,
                           std::vector<EvalRow> rows, const EvaluationRequest& request) {
  EvalOptions options = config.eval;
  if (!request.methods.empty()) options.methods = request.methods;
  const auto ensemble = LoadEnsemble(paths, config, backbone, LargestNeed(options.methods));
  const std::unique_ptr<PackedWeights> packed = LoadDecodeWeights(config.model, *backbone.decoder);
  EvalJob job = MakeJob(config, backbone, *ensemble, packed.get(), request);
  job.rows = std::move(rows);
  job.directory = request.directory.empty() ? paths.eval() : request.directory;
  for (const std::string& name : options.methods) {
    job.identities[name] = MethodIdentity(FindMethod(name), paths, config, *ensemble);
  }
  return Evaluate(job, options);
}

// Rows of the request's files, or the run's own.
std::vector<EvalRow> RowsOf(const Run& run, const EvaluationRequest& request) {
  std::vector<EvalRow> rows =
      request.files.empty() ? LoadTestRows(run)
                            : LoadEvalRows(request.files, run.config.eval, *run.backbone.chat);
  if (!rows.empty()) return rows;
  throw Error(
      ErrorKind::kInvalidInput,
      run.paths.root.string() + " was made without data.test_files; give held-out rows with --input FILE");
}

EvalReport EvaluateOpenRun(const Run& run, const EvaluationRequest& request) {
  return EvaluateMethods(run.paths, run.config, run.backbone, RowsOf(run, request), request);
}

EvalReport EvaluateModel(const EvaluationRequest& request) {
  Responder responder = OpenDecodingResponder(request.target, request.overrides);
  EvalOptions options = responder.config.eval;
  options.methods = {responder.method->name};
  EvalJob job = MakeJob(responder.config, responder.backbone, *responder.ensemble, responder.packed.get(), request);
  job.rows = LoadEvalRows(request.files, options, *responder.backbone.chat);
  job.directory = request.directory;
  Json& identity = job.identities[options.methods[0]];
  identity["backbone"] = responder.backbone.decoder->weights().fingerprint;
  if (!request.target.adapter.empty()) identity["base"] = AdapterChecksum(request.target.adapter);
  return Evaluate(job, options);
}

}  // namespace

EvalReport EvaluateTarget(const EvaluationRequest& request) {
  if (request.target.run.empty()) return EvaluateModel(request);
  std::vector<std::string> overrides = request.overrides;
  for (const std::string& more : request.target.model.AsOverrides()) overrides.push_back(more);
  const RunRequest run_request{request.target.run, {}, overrides};
  // Only answers that go into the run need its lock.
  const Run run = request.directory.empty() ? OpenRunForWriting(run_request) : OpenRunForReading(run_request);
  return EvaluateOpenRun(run, request);
}

EvalReport EvaluateRun(const Run& run) { return EvaluateOpenRun(run, {}); }

}  // namespace elrea
