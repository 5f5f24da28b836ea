// The scheduler on a tiny backbone: who is answered, who is refused, and what limits do.
#include "serve/scheduler.h"

#include <gtest/gtest.h>

#include <future>
#include <thread>

#include "ensemble/generate.h"
#include "lora/testing.h"
#include "model/testing.h"

namespace elrea {
namespace {

class Recorder : public JobListener {
 public:
  void OnDecision(const Decision& decision) override { members = decision.num_members; }
  void OnToken(const DecodedToken* token, const std::string&) override {
    tokens += token != nullptr;
    if (on_token) on_token();
  }
  void OnEnd(Completion&& completion, EndCause why) override {
    answer = std::move(completion);
    cause = why;
    if (on_end) on_end();
    ended.set_value(200);
  }
  void OnFailed(const ApiError& error) override {
    message = error.message;
    ended.set_value(error.status);
  }
  int Status() { return ended.get_future().get(); }

  std::function<void()> on_token, on_end;
  std::atomic<int64_t> members = 0, tokens = 0;
  Completion answer;
  EndCause cause = EndCause::kDone;
  std::string message;
  std::promise<int> ended;
};

class SchedulerTest : public testing::Test {
 protected:
  SchedulerTest()
      : tokenizer_(Tokenizer::Load(ELREA_SOURCE_DIR "/tests/golden/pipeline_model")),
        chat_(ChatTemplate::For(*tokenizer_, "auto")),
        decoder_(MakeTinyModel(Config(), 7)),
        ensemble_(decoder_, ExpertBank()) {
    auto run = std::make_shared<ServedRun>();
    run->name = "tiny";
    run->tokenizer = tokenizer_.get();
    run->chat = &chat_;
    run->ensemble = &ensemble_;
    run_ = run;
  }
  ModelConfig Config() const {
    ModelConfig config = TinyLlamaConfig();
    config.head_dim = 64;  // so that few jobs fill a MiB
    config.vocab = tokenizer_->vocab_size() + 15 - (tokenizer_->vocab_size() + 15) % 16;
    return config;
  }

  JobPtr MakeJob(uint64_t seed, int64_t new_tokens, double deadline_s = 60) {
    auto job = std::make_shared<Job>();
    job->run = run_;
    job->target = {Target::Kind::kBackbone};
    job->request.prompt = RandomTokens(6, tokenizer_->vocab_size(), seed);
    job->request.sampling.max_new_tokens = new_tokens;
    // A tiny model's answers may end early; these do not.
    for (const int32_t stop : chat_.stop_tokens()) job->request.logit_bias.emplace_back(stop, -100.0f);
    job->submitted = Clock::now();
    job->deadline = job->submitted +
                    std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(deadline_s));
    job->listener = std::make_shared<Recorder>();
    return job;
  }
  // Listeners are let go when a job ends: tests keep them.
  static std::shared_ptr<Recorder> Keep(const JobPtr& job) {
    return std::static_pointer_cast<Recorder>(job->listener);
  }

  std::unique_ptr<Tokenizer> tokenizer_;
  ChatTemplate chat_;
  Decoder decoder_;
  Ensemble ensemble_;
  std::shared_ptr<const ServedRun> run_;
  Metrics metrics_;
};

TEST_F(SchedulerTest, AnswersEqualThoseOfTheGenerator) {
  Scheduler scheduler({.drain_timeout_s = 3600}, metrics_);
  std::vector<std::shared_ptr<Recorder>> recorders;
  std::vector<GenerateRequest> requests;
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    const JobPtr job = MakeJob(seed, 4 + static_cast<int64_t>(seed));
    recorders.push_back(Keep(job));
    requests.push_back(job->request);
    requests.back().members = {{nullptr, 1.0}};
    scheduler.Submit({job});
  }
  scheduler.Drain();
  scheduler.Run();
  const auto expected = Generator(decoder_, *tokenizer_, chat_.stop_tokens()).Run(requests);
  for (size_t i = 0; i < recorders.size(); ++i) {
    EXPECT_EQ(recorders[i]->Status(), 200);
    EXPECT_EQ(recorders[i]->answer.tokens, expected[i].tokens);
    EXPECT_EQ(recorders[i]->tokens, static_cast<int64_t>(expected[i].tokens.size()));
    EXPECT_EQ(recorders[i]->members, 1);
  }
}

TEST_F(SchedulerTest, TheQueueIsBoundedAndAllOrNothing) {
  Scheduler scheduler({.max_queue = 3, .drain_timeout_s = 3600}, metrics_);
  scheduler.Submit({MakeJob(1, 2), MakeJob(2, 2)});
  try {
    scheduler.Submit({MakeJob(3, 2), MakeJob(4, 2)});
    FAIL() << "no error";
  } catch (const ApiError& error) {
    EXPECT_EQ(error.status, 429);
    EXPECT_GE(error.retry_after_s, 1);
  }
  scheduler.Submit({MakeJob(5, 2)});
  scheduler.Drain();
  try {
    scheduler.Submit({MakeJob(6, 2)});
    FAIL() << "no error";
  } catch (const ApiError& error) {
    EXPECT_EQ(error.status, 503);
  }
  scheduler.Run();
  EXPECT_EQ(metrics_.generated_tokens.Value(), 6);
  EXPECT_EQ(metrics_.rejected.Value(), 1);
}

TEST_F(SchedulerTest, CancelledJobsLeaveWithinAStep) {
  Scheduler scheduler({.drain_timeout_s = 3600}, metrics_);
  const JobPtr running = MakeJob(1, 100), waiting = MakeJob(2, 100), other = MakeJob(3, 20);
  const auto a = Keep(running), b = Keep(waiting), c = Keep(other);
  waiting->cancelled = true;
  a->on_token = [&] {
    if (a->tokens == 5) running->cancelled = true;
  };
  scheduler.Submit({running, waiting, other});
  scheduler.Drain();
  scheduler.Run();
  EXPECT_EQ(a->Status(), 200);
  EXPECT_EQ(a->cause, EndCause::kDisconnected);
  EXPECT_EQ(a->tokens, 5);
  EXPECT_EQ(b->Status(), 499);
  EXPECT_EQ(c->Status(), 200);
  EXPECT_EQ(c->answer.tokens.size(), 20u);
  EXPECT_EQ(metrics_.kv_bytes.Value(), 0);
  EXPECT_EQ(metrics_.rows.Value(), 0);
}

TEST_F(SchedulerTest, DeadlinesEndWhatRunsAndRefuseWhatWaits) {
  Scheduler scheduler({.drain_timeout_s = 3600}, metrics_);
  const JobPtr late = MakeJob(1, 10, -1), cut = MakeJob(2, 100, 3600);
  const auto a = Keep(late), b = Keep(cut);
  b->on_token = [&] {
    if (b->tokens == 4) cut->deadline = Clock::now();
  };
  scheduler.Submit({cut, late});
  scheduler.Drain();
  scheduler.Run();
  EXPECT_EQ(a->Status(), 429);
  EXPECT_EQ(b->Status(), 200);
  EXPECT_EQ(b->cause, EndCause::kDeadline);
  EXPECT_EQ(b->answer.tokens.size(), 4u);
}

TEST_F(SchedulerTest, MemoryIsPromisedBeforeAJobRuns) {
  const int64_t context = decoder_.config().context_length;
  const auto fit =
      static_cast<size_t>((1 << 20) / KvCache::NumBytes(decoder_.config(), decoder_.dtype(), context));
  ASSERT_GE(fit, 2u);
  Scheduler scheduler({.kv_memory_mb = 1, .prompt_cache_mb = 0, .drain_timeout_s = 3600}, metrics_);
  size_t running = 0, most = 0;
  std::vector<std::shared_ptr<Recorder>> recorders;
  for (size_t i = 0; i < fit + 3; ++i) {
    const JobPtr job = MakeJob(i, context);
    const auto recorder = Keep(job);
    recorder->on_token = [&running, &most, r = recorder.get()] {
      if (r->tokens == 1) most = std::max(most, ++running);
    };
    recorder->on_end = [&running] { --running; };
    recorders.push_back(recorder);
    scheduler.Submit({job});
  }
  scheduler.Drain();
  scheduler.Run();
  for (const auto& recorder : recorders) EXPECT_EQ(recorder->Status(), 200);
  EXPECT_EQ(most, fit);
  EXPECT_EQ(metrics_.kv_bytes.Value(), 0);
}

TEST_F(SchedulerTest, AnEmptyPromptIsRefused) {
  Scheduler scheduler({.drain_timeout_s = 3600}, metrics_);
  const JobPtr job = MakeJob(1, 5);
  job->request.prompt = {};
  const auto recorder = Keep(job);
  scheduler.Submit({job});
  scheduler.Drain();
  scheduler.Run();
  EXPECT_EQ(recorder->Status(), 400);
  EXPECT_NE(recorder->message.find("empty"), std::string::npos);
}

TEST_F(SchedulerTest, DrainEndsLongAnswersInTime) {
  Scheduler scheduler({.drain_timeout_s = 0}, metrics_);
  const JobPtr job = MakeJob(1, 100);
  const auto recorder = Keep(job);
  recorder->on_token = [&] {
    if (recorder->tokens == 3) scheduler.Drain();
  };
  scheduler.Submit({job});
  scheduler.Run();
  EXPECT_EQ(recorder->Status(), 200);
  EXPECT_EQ(recorder->cause, EndCause::kShutdown);
  EXPECT_EQ(recorder->answer.tokens.size(), 3u);
}

}  // namespace
}  // namespace elrea
