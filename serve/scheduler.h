// Who runs when. One thread owns the models; it routes the prompts of waiting jobs, admits jobs in the order they came
// while rows and memory for their keys and values are free, and steps the decoding of all that run. Jobs join and leave
// between steps.
#pragma once

#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "core/options.h"
#include "serve/job.h"
#include "serve/metrics.h"
#include "serve/router_cache.h"
#include "serve/wait_estimate.h"

namespace elrea {

struct SchedulerOptions {
  int64_t max_queue = 64;
  int64_t max_rows = 96;
  int64_t max_prefill_tokens = 512;
  int64_t max_routing_tokens = 128;
  int64_t kv_memory_mb = 2048;
  int64_t prompt_cache_mb = 256;
  int64_t router_cache_prompts = 1024;
  double request_timeout_s = 300;
  double drain_timeout_s = 30;
  int64_t shed_experts = 0;
  bool deterministic = false;
};
template <typename Visitor>
void VisitOptions(SchedulerOptions& o, Visitor& v) {
  v.Field("max_queue", o.max_queue, "choices that may wait; more are answered 429", AtLeast(1));
  v.Field("max_rows", o.max_rows, "members of all choices that decode together", AtLeast(1));
  v.Field("max_prefill_tokens", o.max_prefill_tokens,
          "prompt tokens read between two steps of decoding, over all members; more make newcomers faster and the others "
          "wait longer",
          AtLeast(1));
  v.Field("max_routing_tokens", o.max_routing_tokens,
          "prompt tokens differentiated between two steps, one prompt at least; more make newcomers who come together "
          "wait for each other, and gain little",
          AtLeast(1));
  v.Field("kv_memory_mb", o.kv_memory_mb, "MiB for keys and values of the choices that run", AtLeast(1));
  v.Field("prompt_cache_mb", o.prompt_cache_mb, "MiB for keys and values of earlier texts, per run; 0 = none",
          AtLeast(0));
  v.Field("router_cache_prompts", o.router_cache_prompts, "prompts whose features are kept, per run; 0 = none",
          AtLeast(0));
  v.Field("request_timeout_s", o.request_timeout_s, "a choice ends with what it has after this long", Above(0));
  v.Field("drain_timeout_s", o.drain_timeout_s, "on shutdown, choices may go on for this long", AtLeast(0));
  v.Field("shed_experts", o.shed_experts,
          "while more than half the queue is full, only this many experts answer, and the answer says so; 0 = never",
          AtLeast(0));
  v.Field("deterministic", o.deterministic,
          "an answer does not depend on what runs beside it, bit for bit; slower: prompts are read one by one and no "
          "earlier text is reused");
}

class Scheduler {
 public:
  Scheduler(const SchedulerOptions& options, Metrics& metrics);
  ~Scheduler();

  // --- any thread ---
  // All jobs of a request, or none. ApiError 429 with Retry-After when the queue is full or the wait would pass the
  // deadline, 503 while shutting down. The jobs' listeners are called from the decoding thread.
  void Submit(const std::vector<JobPtr>& jobs);
  // The client of these went away. They leave before the next step.
  void Cancel(const std::vector<JobPtr>& jobs);
  // Looks for retired runs: what belongs to one is freed once its last job has ended.
  void Wake();
  // No more jobs; Run returns when those accepted have ended, or at the latest after drain_timeout_s.
  void Drain();

  // --- the decoding thread ---
  // Works until Drain.
  void Run();

 private:
  struct Lane;  // what belongs to one run
  using LaneMap = std::map<const ServedRun*, std::unique_ptr<Lane>>;

  bool TakeInbox();
  void DropDead();
  void RouteWaiting();
  void RouteBatch(Lane& lane, const std::vector<JobPtr>& jobs);
  void Decide(Lane& lane, Job& job, RouterCache::Feature feature, bool known);
  void ChooseMembers(Job& job);
  void AdmitWaiting();
  bool Admit(const JobPtr& job);
  void StepLanes();
  void StepLane(Lane& lane);
  void EndJob(Lane& lane, uint64_t id, Completion&& completion, EndCause cause);
  void Fail(Job& job, const ApiError& error);
  void EndAll(EndCause cause);
  void RetireLanes();
  void UpdateGauges();
  Lane& LaneOf(const std::shared_ptr<const ServedRun>& run);
  EndCause CauseToEnd(const Job& job) const;

  const SchedulerOptions options_;
  Metrics& metrics_;

  std::mutex mutex_;  // of the following
  std::condition_variable changed_;
  std::vector<JobPtr> inbox_;
  bool draining_ = false, woken_ = false;
  Clock::time_point drain_until_;
  int64_t num_waiting_ = 0, num_running_ = 0;  // as of the last round, with what came since
  WaitEstimate wait_;

  std::deque<JobPtr> waiting_;  // in the order they came; of the decoding thread, as all below
  LaneMap lanes_;
  uint64_t next_id_ = 0;
  int64_t kv_bytes_ = 0;  // promised to jobs that run
  double round_tokens_ = 0;
  Clock::time_point round_begun_;
};

}  // namespace elrea
