// One choice of a request on its way through the scheduler.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>

#include "ensemble/decode_batch.h"
#include "serve/api_error.h"
#include "serve/api_request.h"
#include "serve/served_run.h"

namespace elrea {

using Clock = std::chrono::steady_clock;

// Who answers a choice, and why.
struct Decision {
  Routing routing;                                      // no weights when the target is not the ensemble
  std::shared_ptr<const std::vector<float>> feature;    // [feat] of the prompt; null when none was needed
  int64_t num_members = 0;
  bool known_prompt = false;  // the feature came from the router cache
  bool shed = false;          // fewer experts than asked for, because of the load
};

enum class EndCause { kDone, kDeadline, kShutdown, kDisconnected };

// What becomes of a job. Called on the decoding thread: must not block or throw.
class JobListener {
 public:
  virtual ~JobListener() = default;
  virtual void OnDecision(const Decision& decision) = 0;
  // As TokenCallback of DecodeBatch.
  virtual void OnToken(const DecodedToken* token, const std::string& text) = 0;
  // The last call, after OnDecision. A job that wants the feature alone ends with an empty completion.
  virtual void OnEnd(Completion&& completion, EndCause cause) = 0;
  // The last call, in place of OnEnd.
  virtual void OnFailed(const ApiError& error) = 0;
};

// The first part is the client's and constant once it is submitted; the rest is the scheduler's.
struct Job {
  std::shared_ptr<const ServedRun> run;
  Target target;
  EnsembleCall call;
  GenerateRequest request;  // members are filled in when the prompt is routed
  bool feature_only = false;
  Clock::time_point submitted, deadline;
  std::shared_ptr<JobListener> listener;
  std::atomic<bool> cancelled = false;  // the client went away; set by any thread

  uint64_t id = 0;
  bool decided = false, has_token = false;
  Decision decision;
  int64_t kv_bytes = 0;

  // Whether the prompt's gradient decides something, or is asked for.
  bool NeedsFeature() const {
    return feature_only || call.nearest > 0 || (target.kind == Target::Kind::kEnsemble && !call.has_weights);
  }
};
using JobPtr = std::shared_ptr<Job>;

}  // namespace elrea
