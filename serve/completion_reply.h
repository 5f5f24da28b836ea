// The answer to one request for completions, as JSON or as a stream of events, from what becomes of its choices.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "serve/http_server.h"
#include "serve/job.h"

namespace elrea {

// Called once, when the answer is complete or has failed: for metrics and the access log.
using ReplyDone = std::function<void(int status, int64_t generated_tokens)>;

// Its listeners are called from the decoding thread only.
class CompletionReply : public std::enable_shared_from_this<CompletionReply> {
 public:
  // `model`: as it is named in the answer. `prompt_texts` [prompts]: what an echo begins with. `num_choices`: prompts * n,
  // those of a prompt one after the other.
  CompletionReply(std::shared_ptr<HttpReply> reply, const CompletionCall& call, const ModelChoice& model,
                  std::vector<std::string> prompt_texts, HttpHeaders headers, ReplyDone done);

  // For choice `index` whose prompt has this many tokens. To be called for each before any job is submitted.
  std::shared_ptr<JobListener> ListenerOf(int64_t index, int64_t prompt_tokens);

 private:
  class Listener;
  struct Choice {
    int64_t prompt_tokens = 0;
    std::string text;
    Json log_probs = Json::array();     // of a chat: content; otherwise one entry per token, as of LogProbOf
    Json disagreement = Json::array();  // per token
    Json decision;                      // the `elrea` field
    std::string finish_reason;
    int64_t num_tokens = 0, reused_tokens = 0;
    bool begun = false, ended = false;
  };

  void OnDecision(int64_t index, const Decision& decision);
  void OnToken(int64_t index, const DecodedToken* token, const std::string& text);
  void OnEnd(int64_t index, Completion&& completion, EndCause cause);
  void OnFailed(const ApiError& error);

  Json LogProbOf(const DecodedToken& token) const;
  Json LogProbsField(const Json& entries) const;
  Json Envelope(bool chunk) const;
  Json ChunkChoice(int64_t index, const std::string& text, const Json& log_probs, const Json& finish_reason) const;
  void SendChunk(Json choice, const Json& elrea);
  void Begin(int64_t index);
  void FinishStream();
  void SendWhole();
  Json Usage() const;
  std::string TokenText(int32_t token) const;

  std::shared_ptr<HttpReply> reply_;
  CompletionCall call_;
  ModelChoice model_;
  std::vector<std::string> prompt_texts_;
  HttpHeaders headers_;
  ReplyDone done_;
  std::string id_;
  int64_t created_s_;
  std::vector<Choice> choices_;
  int64_t num_left_ = 0;
  bool started_ = false, failed_ = false;
};

}  // namespace elrea
