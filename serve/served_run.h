// A run as the server sees it: who can answer under its name, and what it can tell of itself.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/json.h"
#include "data/chat_template.h"
#include "data/tokenizer.h"
#include "ensemble/ensemble.h"

namespace elrea {

// `ensemble` is used by the decoding thread alone, except for what is const; the rest is const-shareable.
struct ServedRun {
  std::string name;
  std::string directory;
  std::shared_ptr<void> owner;  // keeps what the pointers below point at
  const Tokenizer* tokenizer = nullptr;
  const ChatTemplate* chat = nullptr;
  Ensemble* ensemble = nullptr;
  const PackedWeights* packed = nullptr;  // null: none
  SamplingOptions generation;             // what a request that says nothing gets
  int64_t created_s = 0;                  // Unix time
  // The training rows nearest to a feature, nearest first: [{"row", "cosine", "cluster", "source", "instruction"}].
  // Thread-safe.
  std::function<Json(std::span<const float> feature, int64_t count)> nearest_rows;
  Json clusters;        // for the cluster explorer, docs/serving.md
  std::string report;   // of `elrea eval`; empty: there is none
  mutable std::atomic<bool> retired = false;  // no longer served: goes away with its last request
};

// Who of a run answers.
struct Target {
  enum class Kind { kEnsemble, kBase, kExpert, kBackbone };
  Kind kind = Kind::kEnsemble;
  int64_t expert = 0;  // of kExpert
};
const char* TargetName(Target::Kind kind);  // "ensemble", "base", "expert", "backbone": `method` in answers

struct ModelChoice {
  std::shared_ptr<const ServedRun> run;
  Target target;
  std::string id;  // "RUN", "RUN/base", "RUN/expert-0", "RUN/backbone"
};

// The runs that are served. Thread-safe.
class RunRegistry {
 public:
  // Replaces the run of the same name, which is retired; true when there was one.
  bool Put(std::shared_ptr<const ServedRun> run);
  // Retires the run. False when there is none of that name.
  bool Remove(const std::string& name);
  std::vector<std::shared_ptr<const ServedRun>> All() const;
  std::shared_ptr<const ServedRun> Find(const std::string& name) const;  // null: none

  // An empty id: the only run's ensemble. ApiError 404 naming the nearest model, or 400 when the id is empty and there
  // are several runs.
  ModelChoice Resolve(const std::string& id) const;
  std::vector<ModelChoice> Models() const;

 private:
  mutable std::mutex mutex_;
  std::map<std::string, std::shared_ptr<const ServedRun>> runs_;
};

}  // namespace elrea
