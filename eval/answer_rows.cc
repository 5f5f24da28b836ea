#include "eval/answer_rows.h"

#include <algorithm>
#include <map>

#include "core/log.h"

namespace elrea {
namespace {

class AnswerLoop {
 public:
  AnswerLoop(const AnswerJob& job, const Planner& plan)
      : job_(job),
        plan_(plan),
        log_(job.path, num_rows(), job.chunk_rows),
        generator_(*job.decoder, *job.tokenizer, job.chat->stop_tokens(), GenerateLimits::ForThroughput(*job.decoder),
                   job.packed),
        progress_(job.label, num_rows(), "rows") {}

  std::vector<Prediction> Run() {
    auto begin = static_cast<int64_t>(log_.finished().size());
    progress_.StartAt(begin);
    if (begin > 0) Show(log_.finished());
    for (; begin < num_rows(); begin += job_.chunk_rows) {
      const std::vector<Prediction> chunk = AnswerChunk(begin, std::min(begin + job_.chunk_rows, num_rows()));
      log_.Append(chunk);
      Show(chunk);
    }
    return log_.finished();
  }

 private:
  int64_t num_rows() const { return static_cast<int64_t>(job_.rows.size()); }
  const EvalRow& row(int64_t i) const { return job_.rows[static_cast<size_t>(i)]; }

  void Show(std::span<const Prediction> chunk) const {
    if (job_.on_chunk) job_.on_chunk(chunk);
  }

  bool Fits(const EvalRow& r) const {
    return static_cast<int64_t>(r.prompt.size()) < job_.decoder->config().context_length;
  }

  std::vector<Prediction> AnswerChunk(int64_t begin, int64_t end) {
    std::vector<int64_t> asked;  // rows whose prompt fits the context
    std::vector<Prediction> chunk;
    for (int64_t i = begin; i < end; ++i) {
      Prediction& p = chunk.emplace_back();
      p.row = i;
      p.source = row(i).source;
      p.gold = row(i).gold;
      p.finish_reason = "over_long";  // unless it is asked
      if (Fits(row(i))) asked.push_back(i);
    }
    const std::vector<RowPlan> plans = plan_(asked);
    const std::vector<Completion> completions = Generate(asked, plans);
    size_t first = 0;
    for (size_t i = 0; i < asked.size(); ++i) {
      Prediction& p = chunk[static_cast<size_t>(asked[i] - begin)];
      FillIn(p, std::span(completions).subspan(first, static_cast<size_t>(plans[i].num_samples)));
      p.base_weight = plans[i].base_weight;
      p.expert_weights = plans[i].expert_weights;
      first += static_cast<size_t>(plans[i].num_samples);
    }
    return chunk;
  }

  // num_samples completions per row, one row after the other.
  std::vector<Completion> Generate(const std::vector<int64_t>& asked, const std::vector<RowPlan>& plans) {
    std::vector<GenerateRequest> requests;
    std::vector<bool> last_of_row;
    for (size_t i = 0; i < asked.size(); ++i) {
      for (int64_t s = 0; s < plans[i].num_samples; ++s) {
        GenerateRequest& request =
            requests.emplace_back(GenerateRequest{row(asked[i]).prompt, plans[i].members, job_.sampling});
        if (row(asked[i]).max_new_tokens > 0) request.sampling.max_new_tokens = row(asked[i]).max_new_tokens;
        request.mixing = plans[i].mixing;
        last_of_row.push_back(s + 1 == plans[i].num_samples);
      }
    }
    return generator_.Run(requests, {}, [&](size_t request, const Completion&) {
      progress_.Add(last_of_row[request] ? 1 : 0);
    });
  }

  void FillIn(Prediction& p, std::span<const Completion> samples) const {
    std::vector<std::string> answers;
    for (const Completion& sample : samples) {
      answers.push_back(ExtractAnswer(sample.text, job_.style).value_or(""));
      p.num_tokens += static_cast<int64_t>(sample.tokens.size());
    }
    const size_t chosen = MajorityVote(answers);
    p.response = samples[chosen].text;
    p.answer = answers[chosen];
    p.correct = ResponseMatches(p.response, p.gold, job_.style, job_.matching);
    p.finish_reason = FinishReasonName(samples[chosen].reason);
  }

  const AnswerJob& job_;
  const Planner& plan_;
  PredictionLog log_;
  Generator generator_;
  Progress progress_;
};

}  // namespace

size_t MajorityVote(const std::vector<std::string>& answers) {
  std::map<std::string, int64_t> votes;
  for (const std::string& answer : answers) {
    if (!answer.empty()) ++votes[NormaliseAnswer(answer)];
  }
  size_t best = 0;
  int64_t most = 0;
  for (size_t i = 0; i < answers.size(); ++i) {
    if (answers[i].empty()) continue;
    if (const int64_t count = votes[NormaliseAnswer(answers[i])]; count > most) {
      most = count;
      best = i;
    }
  }
  return best;
}

std::vector<Prediction> AnswerRows(const AnswerJob& job, const Planner& plan) {
  return AnswerLoop(job, plan).Run();
}

}  // namespace elrea
