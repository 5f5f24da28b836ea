#include "bench/serve_load.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <numeric>
#include <set>
#include <thread>

#include "bench/bench_support.h"
#include "core/error.h"

namespace elrea::bench {
namespace {

void SleepUntil(double time) {
  const double left = time - NowSeconds();
  if (left > 0) std::this_thread::sleep_for(std::chrono::duration<double>(left));
}

// How many times `mark` the text is; -1: it is something else.
int64_t CountMarks(std::string_view text, const std::string& mark) {
  int64_t count = 0;
  for (; text.starts_with(mark); ++count) text.remove_prefix(mark.size());
  return text.empty() ? count : -1;
}

void Judge(const Questions& questions, const Question& question, const LoadAnswer& answer, Tally& tally) {
  // An answer may end a step after its deadline, and the last bytes have to travel.
  constexpr double kGrace_s = 2;
  if (answer.total_s > questions.deadline_s + kGrace_s) ++tally.late;
  if (answer.status == 429) {
    ++tally.refused;
    return;
  }
  if (answer.status != 200 || !answer.complete) {
    if (tally.lost++ == 0) tally.fault = fmt::format("status {} {}", answer.status, answer.fault);
    return;
  }
  ++tally.answered;
  tally.first_token_s.push_back(answer.first_token_s);
  tally.total_s.push_back(answer.total_s);
  const std::string_view text = answer.text;
  const bool own = text.starts_with(question.prompt);
  const int64_t count = own ? CountMarks(text.substr(question.prompt.size()), question.mark.text) : -1;
  if (count < 0 || count > questions.new_tokens) {
    ++tally.mixed_up;
  } else if (count < questions.new_tokens) {
    // Only the deadline may cut an answer.
    const bool at_deadline = answer.total_s > questions.deadline_s - kGrace_s;
    ++(at_deadline ? tally.cut : tally.lost);
  }
}

}  // namespace

std::vector<Mark> FindMarks(int port) {
  const Json text = {
      {"text",
       " the of and a to in is was he for it with as his on be at by had not are but from or have an "
       "they which one you were all her she there would their we him been has when who will no more if "
       "out so what up said its about than into them can only other time new some could these two may "
       "first then do any like my now over such our man me even most made after also did many off "
       "before must well back through years where much your way down should because long each just "
       "state those people too little good world make very year still see own work men day get here"}};
  const WholeAnswer answer = Ask(port, "POST", "/tokenize", JsonLine(text));
  std::vector<Mark> marks;
  std::set<int32_t> seen;
  if (answer.status == 200) {
    const Json json = ParseJson(answer.body, "tokens");
    for (size_t i = 0; i < json["tokens"].size(); ++i) {
      const auto token = json["tokens"][i].get<int32_t>();
      const auto piece = json["pieces"][i].get<std::string>();
      if (piece.empty() || piece.find("\uFFFD") != std::string::npos) continue;  // a part of a character
      if (seen.insert(token).second) marks.push_back({token, piece});
    }
  }
  if (marks.size() < 16) throw Error(ErrorKind::kUnavailable, "the server's tokenizer gave too few tokens");
  return marks;
}

Question Questions::At(int64_t index) const {
  const int64_t number = first + (num_prompts > 0 ? index % num_prompts : index);
  Question question;
  question.prompt = fmt::format(
      "Question {}: Tom has {} apples and buys {} more. How many apples has Tom now? Answer:", number,
      3 + number * 7 % 50, 2 + number * 11 % 60);
  question.mark = marks[static_cast<size_t>(index) % marks.size()];
  question.body = {{"prompt", question.prompt},
                   {"max_tokens", new_tokens},
                   {"temperature", 0},
                   {"logit_bias", {{std::to_string(question.mark.token), 100}}},
                   {"stream", true},
                   {"echo", true},
                   {"elrea", {{"deadline_s", deadline_s}}}};
  if (!model.empty()) question.body["model"] = model;
  return question;
}

void Tally::Add(const Tally& other) {
  if (fault.empty()) fault = other.fault;
  first_token_s.insert(first_token_s.end(), other.first_token_s.begin(), other.first_token_s.end());
  total_s.insert(total_s.end(), other.total_s.begin(), other.total_s.end());
  answered += other.answered;
  cut += other.cut;
  refused += other.refused;
  lost += other.lost;
  mixed_up += other.mixed_up;
  late += other.late;
  seconds += other.seconds;
}

Tally Load(const ServerProcess& server, const Questions& questions, const LoadPlan& plan) {
  Tally tally;
  std::mutex mutex;
  std::atomic<int64_t> next = 0;
  const double begun = NowSeconds(), all_there = begun + plan.ramp_s, end = all_there + plan.seconds;
  constexpr double kRetryPause_s = 0.25;  // of a client that was refused
  const auto client = [&](int64_t number) {
    SleepUntil(begun + plan.ramp_s * static_cast<double>(number) / static_cast<double>(plan.clients));
    for (;;) {
      const int64_t index = next++;
      if (plan.offered_per_s > 0) SleepUntil(std::min(end, begun + static_cast<double>(index) / plan.offered_per_s));
      if (NowSeconds() >= end || index >= plan.most) return;
      const Question question = questions.At(index);
      const LoadAnswer answer = AskStreaming(server.port(), question.body);
      {
        const std::lock_guard lock(mutex);
        Judge(questions, question, answer, tally);
      }
      if (answer.status == 429 && plan.offered_per_s == 0) SleepUntil(NowSeconds() + kRetryPause_s);
    }
  };
  std::vector<std::jthread> threads;
  for (int64_t i = 0; i < plan.clients; ++i) threads.emplace_back(client, i);
  SleepUntil(all_there);
  const double before = server.Metric("elrea_generated_tokens_total"), from = NowSeconds(),
               cpu_before = server.CpuSeconds();
  while (NowSeconds() < end && next < plan.most) SleepUntil(std::min(end, NowSeconds() + 0.05));
  if (next >= plan.most) threads.clear();  // all are asked: until they are answered
  const double tokens = server.Metric("elrea_generated_tokens_total") - before;
  tally.tokens_per_s = tokens / (NowSeconds() - from);
  tally.tokens_per_cpu_s = tokens / std::max(0.01, server.CpuSeconds() - cpu_before);
  threads.clear();
  tally.seconds = NowSeconds() - begun;
  return tally;
}

PeerTimes AskPeer(const ChildServer& peer, const Questions& questions, int64_t count) {
  std::atomic<int64_t> whole = 0;
  const double begun = NowSeconds(), cpu_before = peer.CpuSeconds();
  std::vector<std::jthread> threads;
  for (int64_t i = 0; i < count; ++i) {
    threads.emplace_back([&, i] {
      const Json body = {{"prompt", questions.At(i).prompt}, {"max_tokens", questions.new_tokens}};
      const WholeAnswer answer = Ask(peer.port(), "POST", "/v1/completions", JsonLine(body));
      if (answer.status != 200) return;
      const Json json = ParseJson(answer.body, "the peer's answer");
      whole += json["usage"]["completion_tokens"] == questions.new_tokens;
    });
  }
  threads.clear();
  if (whole == count) return {NowSeconds() - begun, peer.CpuSeconds() - cpu_before};
  throw Error(ErrorKind::kUnavailable,
              fmt::format("the peer gave {} whole answers of {}", whole.load(), count));
}

void Report(const std::string& name, const Tally& t) {
  const auto of = [](const std::vector<double>& values, double percent) {
    return values.empty() ? 0 : Percentile(values, percent);
  };
  fmt::print(stderr,
             "{}: {} answered ({} cut by their deadline), {} refused, {} lost, {} mixed up, {} late; {:.1f} "
             "tokens/s, {:.1f} a processor second; first token p50 {:.3f} s, p99 {:.3f} s, most {:.3f} s\n",
             name, t.answered, t.cut, t.refused, t.lost, t.mixed_up, t.late, t.tokens_per_s,
             t.tokens_per_cpu_s, of(t.first_token_s, 50), of(t.first_token_s, 99), of(t.first_token_s, 100));
  if (!t.fault.empty()) fmt::print(stderr, "{}: the first that was lost: {}\n", name, t.fault);
}

}  // namespace elrea::bench
