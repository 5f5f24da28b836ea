// Read Run first: one round of the decoding thread.
#include "serve/scheduler.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include <algorithm>
#include <chrono>
#include <cmath>

#include "core/error.h"
#include "core/log.h"

namespace elrea {
namespace {

double Seconds(Clock::duration duration) { return std::chrono::duration<double>(duration).count(); }

// What a client is told of a fault here: the details are for the log.
ApiError Internal(const std::string& what) {
  LogLine(LogLevel::kError, "serve", what);
  return {500, "the server failed to answer; its log says why", "", "internal_error"};
}

// Runs `body`; what it throws as an error for clients.
template <typename Body>
std::optional<ApiError> Guarded(Body&& body) {
  try {
    body();
    return std::nullopt;
  } catch (const ApiError& error) {
    return error;
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::kInvalidInput) return ApiError(400, error.what());
    return Internal(error.what());
  } catch (const c10::Error& error) {
    return Internal(error.what_without_backtrace());
  } catch (const std::exception& error) {
    return Internal(error.what());
  }
}

GenerateLimits LimitsOf(const SchedulerOptions& o) {
  return {.max_rows = o.max_rows,
          .max_prefill_tokens = o.max_prefill_tokens,
          .cache_headroom = INT64_MAX,  // memory is promised whole
          .isolate = o.deterministic};
}

}  // namespace

struct Scheduler::Lane {
  Lane(std::shared_ptr<const ServedRun> r, const SchedulerOptions& o)
      : run(std::move(r)),
        prefixes(run->ensemble->decoder(), o.deterministic ? 0 : o.prompt_cache_mb << 20),
        router(o.router_cache_prompts),
        batch(run->ensemble->decoder(), *run->tokenizer, run->chat->stop_tokens(), LimitsOf(o), run->packed,
              o.deterministic ? nullptr : &prefixes) {
    RegisterAdapters();
  }
  void RegisterAdapters() {
    const ExpertBank& bank = run->ensemble->bank();
    batch.Register(nullptr);
    if (bank.has_base()) batch.Register(bank.base());
    for (int64_t c = 0; c < bank.num_experts(); ++c) batch.Register(bank.expert(c));
  }
  std::shared_ptr<const ServedRun> run;
  PrefixCache prefixes;
  RouterCache router;
  DecodeBatch batch;
  std::map<uint64_t, JobPtr> running;
};

Scheduler::Scheduler(const SchedulerOptions& options, Metrics& metrics) : options_(options), metrics_(metrics) {}
Scheduler::~Scheduler() = default;

void Scheduler::Submit(const std::vector<JobPtr>& jobs) {
  const std::lock_guard lock(mutex_);
  if (draining_) throw ApiError(503, "the server is shutting down", "", "shutting_down", 5);
  const double wait = wait_.Seconds(num_waiting_ + num_running_);
  const double retry = std::clamp(std::ceil(wait / 2), 1.0, 60.0);
  const auto refuse = [&](const std::string& why) {
    metrics_.rejected.Increment();
    throw ApiError(429, why + "; try again later", "", "overloaded", retry);
  };
  if (num_waiting_ + static_cast<int64_t>(jobs.size()) > options_.max_queue) {
    refuse(fmt::format("{} requests are waiting, and at most {} may", num_waiting_, options_.max_queue));
  }
  if (num_waiting_ > 0 && Clock::now() + std::chrono::duration<double>(wait) > jobs[0]->deadline) {
    refuse(fmt::format("the wait would be about {:.0f} s, past the request's deadline", wait));
  }
  inbox_.insert(inbox_.end(), jobs.begin(), jobs.end());
  num_waiting_ += static_cast<int64_t>(jobs.size());
  changed_.notify_one();
}

void Scheduler::Cancel(const std::vector<JobPtr>& jobs) {
  for (const JobPtr& job : jobs) job->cancelled = true;
  Wake();
}

void Scheduler::Wake() {
  const std::lock_guard lock(mutex_);
  woken_ = true;
  changed_.notify_one();
}

void Scheduler::Drain() {
  const std::lock_guard lock(mutex_);
  if (draining_) return;
  draining_ = true;
  drain_until_ = Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                    std::chrono::duration<double>(options_.drain_timeout_s));
  changed_.notify_one();
}

namespace {

// Caches and activations of ever other sizes leave holes that glibc keeps: three minutes of load grew a process from 1.1 to
// 3.5 GiB, 1.8 of them free. Now and then they go back to the system.
class FreeMemoryReturner {
 public:
  void Tick() {
#ifdef __GLIBC__
    if (Clock::now() < next_) return;
    malloc_trim(0);
    next_ = Clock::now() + std::chrono::seconds(10);
#endif
  }

 private:
  Clock::time_point next_ = Clock::now();
};

}  // namespace

void Scheduler::Run() {
  FreeMemoryReturner returner;
  while (TakeInbox()) {
    returner.Tick();
    DropDead();
    RouteWaiting();
    AdmitWaiting();
    StepLanes();
    RetireLanes();
    UpdateGauges();
  }
  EndAll(EndCause::kShutdown);
}

// Waits until there is something to do; false when the server should end.
bool Scheduler::TakeInbox() {
  const bool idle = waiting_.empty() && std::all_of(lanes_.begin(), lanes_.end(),
                                                    [](const auto& lane) { return lane.second->running.empty(); });
  std::unique_lock lock(mutex_);
  if (idle) {
    changed_.wait(lock, [&] { return draining_ || !inbox_.empty() || woken_; });
    round_begun_ = Clock::now();
  }
  woken_ = false;
  for (JobPtr& job : inbox_) {
    job->id = next_id_++;
    waiting_.push_back(std::move(job));
  }
  inbox_.clear();
  const bool work_left = !idle || !waiting_.empty();
  return !draining_ || (work_left && Clock::now() < drain_until_);
}

Scheduler::Lane& Scheduler::LaneOf(const std::shared_ptr<const ServedRun>& run) {
  auto& lane = lanes_[run.get()];
  if (!lane) lane = std::make_unique<Lane>(run, options_);
  return *lane;
}

EndCause Scheduler::CauseToEnd(const Job& job) const {
  if (job.cancelled) return EndCause::kDisconnected;
  return Clock::now() >= job.deadline ? EndCause::kDeadline : EndCause::kDone;
}

// Jobs whose client went away or whose time is up.
void Scheduler::DropDead() {
  for (const JobPtr& job : waiting_) {
    const EndCause cause = CauseToEnd(*job);
    if (cause == EndCause::kDisconnected) {
      Fail(*job, ApiError(499, "the client went away"));
    } else if (cause == EndCause::kDeadline) {
      metrics_.expired.Increment();
      Fail(*job, ApiError(429, "the server did not get to the request before its deadline; try again later", "",
                          "deadline_exceeded", 5));
    }
  }
  std::erase_if(waiting_, [](const JobPtr& job) { return job->listener == nullptr; });
  for (auto& [run, lane] : lanes_) {
    std::vector<std::pair<uint64_t, EndCause>> dead;
    for (const auto& [id, job] : lane->running) {
      if (const EndCause cause = CauseToEnd(*job); cause != EndCause::kDone) dead.emplace_back(id, cause);
    }
    for (const auto& [id, cause] : dead) {
      lane->batch.Cancel(id, [&, cause = cause](uint64_t ended, Completion&& completion) {
        EndJob(*lane, ended, std::move(completion), cause);
      });
    }
  }
}

// Decides on waiting jobs, in order, as far as this round's tokens go.
void Scheduler::RouteWaiting() {
  std::map<Lane*, std::vector<JobPtr>> batches;
  int64_t tokens = 0;
  for (const JobPtr& job : waiting_) {
    if (job->decided) continue;
    Lane& lane = LaneOf(job->run);
    if (!job->NeedsFeature()) {
      Decide(lane, *job, nullptr, false);
      continue;
    }
    if (const auto known = lane.router.Find(job->request.prompt)) {
      metrics_.router_hits.Increment();
      Decide(lane, *job, known, true);
      continue;
    }
    const auto length = static_cast<int64_t>(job->request.prompt.size());
    if (length < 2) {  // nothing is predicted: no loss, and the feature of no gradient is zero
      const auto dim = static_cast<size_t>(lane.run->ensemble->clustering().dim);
      Decide(lane, *job, std::make_shared<const std::vector<float>>(dim), false);
      continue;
    }
    if (tokens > 0 && (options_.deterministic || tokens + length > options_.max_routing_tokens)) break;
    tokens += length;
    batches[&lane].push_back(job);
  }
  for (const auto& [lane, jobs] : batches) RouteBatch(*lane, jobs);
  std::erase_if(waiting_, [](const JobPtr& job) { return job->listener == nullptr; });
}

// One batch of gradients; choices of one request share theirs.
void Scheduler::RouteBatch(Lane& lane, const std::vector<JobPtr>& jobs) {
  std::vector<std::span<const int32_t>> prompts;
  for (const JobPtr& job : jobs) {
    const std::span<const int32_t> prompt(job->request.prompt);
    const bool there = std::any_of(prompts.begin(), prompts.end(), [&](const auto& other) {
      return std::equal(other.begin(), other.end(), prompt.begin(), prompt.end());
    });
    if (!there) prompts.push_back(prompt);
  }
  const auto begun = Clock::now();
  std::vector<RouterCache::Feature> features;
  const auto error = Guarded([&] {
    for (auto& feature : lane.run->ensemble->Features(prompts, options_.deterministic ? nullptr : &lane.prefixes)) {
      features.push_back(std::make_shared<const std::vector<float>>(std::move(feature)));
    }
  });
  metrics_.routing_s.Observe(Seconds(Clock::now() - begun));
  metrics_.router_misses.Increment(static_cast<double>(prompts.size()));
  for (const JobPtr& job : jobs) {
    if (error) {
      Fail(*job, *error);
      continue;
    }
    for (size_t i = 0; i < prompts.size(); ++i) {
      const std::span<const int32_t> prompt(job->request.prompt);
      if (!std::equal(prompts[i].begin(), prompts[i].end(), prompt.begin(), prompt.end())) continue;
      Decide(lane, *job, features[i], false);
      break;
    }
  }
  if (error) return;
  for (size_t i = 0; i < prompts.size(); ++i) lane.router.Store(prompts[i], features[i]);
}

// The members of the job, from the feature where there is one.
void Scheduler::Decide(Lane& lane, Job& job, RouterCache::Feature feature, bool known) {
  job.decided = true;
  job.decision.feature = std::move(feature);
  job.decision.known_prompt = known;
  const auto error = Guarded([&] {
    if (!job.feature_only) {
      ChooseMembers(job);
      lane.batch.Check(job.request, "the prompt");
    }
    job.listener->OnDecision(job.decision);
  });
  if (error) return Fail(job, *error);
  if (!job.feature_only) return;
  job.listener->OnEnd({}, EndCause::kDone);
  job.listener = nullptr;
}

void Scheduler::ChooseMembers(Job& job) {
  const Ensemble& ensemble = *job.run->ensemble;
  const ExpertBank& bank = ensemble.bank();
  auto& members = job.request.members;
  switch (job.target.kind) {
    case Target::Kind::kBackbone: members = {{nullptr, 1.0}}; break;
    case Target::Kind::kBase: members = {{bank.base(), 1.0}}; break;
    case Target::Kind::kExpert: members = {{bank.expert(job.target.expert), 1.0}}; break;
    case Target::Kind::kEnsemble: {
      RoutingOptions options = ensemble.routing_options();
      options.top_k = job.call.top_k.value_or(options.top_k);
      options.min_weight = job.call.min_weight.value_or(options.min_weight);
      options.temperature = job.call.temperature.value_or(options.temperature);
      const bool busy = static_cast<int64_t>(waiting_.size()) * 2 > options_.max_queue;
      const int64_t kept = options.top_k > 0 ? options.top_k : bank.num_experts();
      if (options_.shed_experts > 0 && busy && kept > options_.shed_experts && !job.call.has_weights) {
        options.top_k = options_.shed_experts;
        job.decision.shed = true;
        metrics_.shed.Increment();
      }
      Routing& routing = job.decision.routing;
      if (job.decision.feature != nullptr) routing = ensemble.RouteFeature(*job.decision.feature, options);
      if (job.call.has_weights) {
        routing.base_weight = job.call.base_weight;
        routing.weights = job.call.expert_weights;
        routing.weights.resize(static_cast<size_t>(bank.num_experts()));
      }
      members = bank.Members(routing);
    }
  }
  job.decision.num_members = static_cast<int64_t>(members.size());
}

// In the order they came: a job that does not fit waits, and those behind it with it, so that none waits for ever.
void Scheduler::AdmitWaiting() {
  while (!waiting_.empty() && waiting_.front()->decided && Admit(waiting_.front())) {
    waiting_.pop_front();
  }
}

// False when there is no room yet. A job that can never have any fails.
bool Scheduler::Admit(const JobPtr& job) {
  Lane& lane = LaneOf(job->run);
  const Decoder& decoder = lane.run->ensemble->decoder();
  const auto prompt = static_cast<int64_t>(job->request.prompt.size());
  const int64_t positions =
      std::min(decoder.config().context_length, prompt + std::min(job->request.sampling.max_new_tokens,
                                                                  decoder.config().context_length));
  const int64_t needed = KvCache::NumBytes(decoder.config(), decoder.dtype(), positions) * job->decision.num_members;
  const int64_t budget = options_.kv_memory_mb << 20;
  if (needed > budget) {
    Fail(*job, ApiError(400,
                        fmt::format("prompt and max_tokens need {} MiB of memory for keys and values, and the server "
                                    "has {}; ask for fewer tokens or a smaller elrea.top_k",
                                    (needed >> 20) + 1, options_.kv_memory_mb),
                        "max_tokens"));
    return true;
  }
  if (kv_bytes_ + needed > budget || !lane.batch.HasRoom(job->request)) return false;
  const auto error = Guarded([&] { lane.batch.Join(job->id, job->request); });
  if (error) {
    Fail(*job, *error);
    return true;
  }
  job->kv_bytes = needed;
  kv_bytes_ += needed;
  lane.running[job->id] = job;
  metrics_.prompt_tokens.Increment(static_cast<double>(prompt));
  return true;
}

void Scheduler::StepLanes() {
  for (auto& [run, lane] : lanes_) {
    if (!lane->batch.empty()) StepLane(*lane);
  }
}

void Scheduler::StepLane(Lane& lane) {
  const auto begun = Clock::now();
  const auto error = Guarded([&] {
    lane.batch.Step(
        [&](uint64_t id, const DecodedToken* token, const std::string& text) {
          Job& job = *lane.running.at(id);
          if (!job.has_token) metrics_.first_token_s.Observe(Seconds(Clock::now() - job.submitted));
          job.has_token = true;
          round_tokens_ += token != nullptr;
          job.listener->OnToken(token, text);
          return !job.cancelled;
        },
        [&](uint64_t id, Completion&& completion) {
          const bool cancelled = completion.reason == FinishReason::kCancelled;
          EndJob(lane, id, std::move(completion), cancelled ? EndCause::kDisconnected : EndCause::kDone);
        });
  });
  metrics_.step_s.Observe(Seconds(Clock::now() - begun));
  if (!error) return;
  lane.batch.Clear();
  lane.RegisterAdapters();
  for (const auto& [id, job] : std::exchange(lane.running, {})) {
    kv_bytes_ -= job->kv_bytes;
    job->listener->OnFailed(*error);
    job->listener = nullptr;
  }
}

void Scheduler::EndJob(Lane& lane, uint64_t id, Completion&& completion, EndCause cause) {
  const JobPtr job = lane.running.at(id);
  lane.running.erase(id);
  kv_bytes_ -= job->kv_bytes;
  metrics_.reused_prompt_tokens.Increment(static_cast<double>(completion.reused_tokens));
  metrics_.request_s.Observe(Seconds(Clock::now() - job->submitted));
  if (cause == EndCause::kDisconnected) metrics_.disconnected.Increment();
  if (cause == EndCause::kDeadline) metrics_.expired.Increment();
  if (cause == EndCause::kDone) {
    const std::lock_guard lock(mutex_);
    wait_.AddJob(static_cast<double>(completion.tokens.size()));
  }
  job->listener->OnEnd(std::move(completion), cause);
  job->listener = nullptr;  // breaks the circle of job and listener
}

// Ends a job that waits; the caller takes it out of waiting_.
void Scheduler::Fail(Job& job, const ApiError& error) {
  if (job.cancelled) metrics_.disconnected.Increment();
  job.listener->OnFailed(error);
  job.listener = nullptr;
}

// On shutdown, when the time is up.
void Scheduler::EndAll(EndCause cause) {
  for (auto& [run, lane] : lanes_) {
    while (!lane->running.empty()) {
      const uint64_t id = lane->running.begin()->first;
      lane->batch.Cancel(id, [&](uint64_t ended, Completion&& c) { EndJob(*lane, ended, std::move(c), cause); });
    }
  }
  for (const JobPtr& job : waiting_) {
    Fail(*job, ApiError(503, "the server is shutting down", "", "shutting_down", 5));
  }
  waiting_.clear();
}

void Scheduler::RetireLanes() {
  std::erase_if(lanes_, [&](const auto& entry) {
    const Lane& lane = *entry.second;
    const bool waited_for = std::any_of(waiting_.begin(), waiting_.end(),
                                        [&](const JobPtr& job) { return job->run == lane.run; });
    return lane.run->retired && lane.running.empty() && !waited_for;
  });
}

// Gauges, and what Submit wants to know.
void Scheduler::UpdateGauges() {
  int64_t active = 0, rows = 0, prefix_bytes = 0, router_bytes = 0;
  for (const auto& [run, lane] : lanes_) {
    active += lane->batch.num_requests();
    rows += lane->batch.num_rows();
    prefix_bytes += lane->prefixes.bytes();
    router_bytes += lane->router.bytes();
  }
  metrics_.active.Set(static_cast<double>(active));
  metrics_.rows.Set(static_cast<double>(rows));
  metrics_.prefix_bytes.Set(static_cast<double>(prefix_bytes));
  metrics_.router_bytes.Set(static_cast<double>(router_bytes));
  metrics_.kv_bytes.Set(static_cast<double>(kv_bytes_));
  const double tokens = std::exchange(round_tokens_, 0);
  metrics_.generated_tokens.Increment(tokens);
  const double seconds = Seconds(Clock::now() - std::exchange(round_begun_, Clock::now()));
  const std::lock_guard lock(mutex_);
  num_running_ = active;
  num_waiting_ = static_cast<int64_t>(inbox_.size() + waiting_.size());
  metrics_.waiting.Set(static_cast<double>(num_waiting_));
  if (active > 0) wait_.AddRound(tokens, seconds);
}

}  // namespace elrea
