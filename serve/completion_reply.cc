#include "serve/completion_reply.h"

#include <fmt/format.h>

#include <ctime>
#include <random>

#include "core/text.h"

namespace elrea {
namespace {

std::string NewId(bool is_chat) {
  thread_local std::mt19937_64 random{std::random_device{}()};
  return fmt::format("{}-{:016x}{:016x}", is_chat ? "chatcmpl" : "cmpl", random(), random());
}

Json BytesOf(const std::string& text) {
  Json bytes = Json::array();
  for (const char c : text) bytes.push_back(static_cast<unsigned char>(c));
  return bytes;
}

const char* CauseName(EndCause cause) {
  switch (cause) {
    case EndCause::kDeadline: return "deadline";
    case EndCause::kShutdown: return "shutdown";
    default: return "disconnected";
  }
}

}  // namespace

class CompletionReply::Listener : public JobListener {
 public:
  Listener(std::shared_ptr<CompletionReply> reply, int64_t index) : reply_(std::move(reply)), index_(index) {}
  void OnDecision(const Decision& decision) override { reply_->OnDecision(index_, decision); }
  void OnToken(const DecodedToken* token, const std::string& text) override { reply_->OnToken(index_, token, text); }
  void OnEnd(Completion&& completion, EndCause cause) override { reply_->OnEnd(index_, std::move(completion), cause); }
  void OnFailed(const ApiError& error) override { reply_->OnFailed(error); }

 private:
  std::shared_ptr<CompletionReply> reply_;
  int64_t index_;
};

CompletionReply::CompletionReply(std::shared_ptr<HttpReply> reply, const CompletionCall& call,
                                 const ModelChoice& model, std::vector<std::string> prompt_texts,
                                 HttpHeaders headers, ReplyDone done)
    : reply_(std::move(reply)),
      call_(call),
      model_(model),
      prompt_texts_(std::move(prompt_texts)),
      headers_(std::move(headers)),
      done_(std::move(done)),
      id_(NewId(call.is_chat)),
      created_s_(std::time(nullptr)) {}

std::shared_ptr<JobListener> CompletionReply::ListenerOf(int64_t index, int64_t prompt_tokens) {
  choices_.resize(std::max(choices_.size(), static_cast<size_t>(index) + 1));
  choices_[static_cast<size_t>(index)].prompt_tokens = prompt_tokens;
  ++num_left_;
  return std::make_shared<Listener>(shared_from_this(), index);
}

std::string CompletionReply::TokenText(int32_t token) const { return model_.run->tokenizer->TokenBytes(token, false); }

void CompletionReply::OnDecision(int64_t index, const Decision& decision) {
  Json& json = choices_[static_cast<size_t>(index)].decision;
  json = {{"method", TargetName(model_.target.kind)}, {"members", decision.num_members}};
  if (!decision.routing.weights.empty()) {
    json["weights"] = {{"base", decision.routing.base_weight}, {"experts", decision.routing.weights}};
    if (call_.ensemble.has_weights) json["forced"] = true;
  }
  if (!decision.routing.cosines.empty()) json["cosines"] = decision.routing.cosines;
  if (decision.feature != nullptr) json["known_prompt"] = decision.known_prompt;
  if (decision.shed) json["shed"] = true;
  if (call_.ensemble.nearest > 0 && decision.feature != nullptr && model_.run->nearest_rows) {
    json["nearest_rows"] = model_.run->nearest_rows(*decision.feature, call_.ensemble.nearest);
  }
}

// {"token", "logprob", "bytes", "top_logprobs": [{"token", "logprob", "bytes"}]}
Json CompletionReply::LogProbOf(const DecodedToken& decoded) const {
  const auto entry = [&](int32_t token, float log_prob) {
    const std::string bytes = TokenText(token);
    return Json{{"token", ReplaceInvalidUtf8(bytes)}, {"logprob", log_prob}, {"bytes", BytesOf(bytes)}};
  };
  Json json = entry(decoded.token, decoded.log_prob);
  json["top_logprobs"] = Json::array();
  for (const SampledToken& other : decoded.alternatives) {
    json["top_logprobs"].push_back(entry(other.token, other.log_prob));
  }
  return json;
}

// The entries in the form of the route at hand.
Json CompletionReply::LogProbsField(const Json& entries) const {
  if (!call_.log_probs) return nullptr;
  if (call_.is_chat) return {{"content", entries}};
  Json field = {{"tokens", Json::array()},
                {"token_logprobs", Json::array()},
                {"top_logprobs", Json::array()},
                {"text_offset", Json::array()}};
  int64_t offset = 0;
  for (const Json& entry : entries) {
    field["tokens"].push_back(entry["token"]);
    field["token_logprobs"].push_back(entry["logprob"]);
    Json top = Json::object();
    for (const Json& other : entry["top_logprobs"]) top[other["token"].get<std::string>()] = other["logprob"];
    field["top_logprobs"].push_back(std::move(top));
    field["text_offset"].push_back(offset);
    offset += static_cast<int64_t>(entry["bytes"].size());
  }
  return field;
}

Json CompletionReply::Envelope(bool chunk) const {
  const char* object = !call_.is_chat ? "text_completion" : chunk ? "chat.completion.chunk" : "chat.completion";
  return {{"id", id_}, {"object", object}, {"created", created_s_}, {"model", model_.id}};
}

Json CompletionReply::ChunkChoice(int64_t index, const std::string& text, const Json& log_probs,
                                  const Json& finish_reason) const {
  Json choice = {{"index", index}};
  if (call_.is_chat) {
    choice["delta"] = text.empty() ? Json::object() : Json{{"content", text}};
  } else {
    choice["text"] = text;
  }
  choice["logprobs"] = log_probs;
  choice["finish_reason"] = finish_reason;
  return choice;
}

void CompletionReply::SendChunk(Json choice, const Json& elrea) {
  Json chunk = Envelope(/*chunk=*/true);
  chunk["choices"] = Json::array({std::move(choice)});
  if (call_.include_usage) chunk["usage"] = nullptr;
  if (!elrea.is_null()) chunk["elrea"] = elrea;
  reply_->Write("data: " + JsonLine(chunk) + "\n\n");
}

// Headers, and the first event of a choice: who answers.
void CompletionReply::Begin(int64_t index) {
  Choice& choice = choices_[static_cast<size_t>(index)];
  if (choice.begun) return;
  choice.begun = true;
  if (!started_) {
    HttpHeaders headers = headers_;
    headers.emplace_back("Cache-Control", "no-cache");
    headers.emplace_back("X-Accel-Buffering", "no");
    reply_->Start("text/event-stream; charset=utf-8", headers);
    started_ = true;
  }
  const std::string echoed = call_.echo ? prompt_texts_.at(static_cast<size_t>(index / call_.n)) : "";
  Json first = ChunkChoice(index, echoed, nullptr, nullptr);
  if (call_.is_chat) first["delta"] = {{"role", "assistant"}, {"content", ""}};
  SendChunk(std::move(first), choice.decision);
}

void CompletionReply::OnToken(int64_t index, const DecodedToken* token, const std::string& text) {
  Choice& choice = choices_[static_cast<size_t>(index)];
  choice.text += text;
  Json log_probs = Json::array(), elrea;
  if (token != nullptr) {
    ++choice.num_tokens;
    if (call_.log_probs) log_probs.push_back(LogProbOf(*token));
    if (call_.ensemble.disagreement) elrea["disagreement"] = Json::array({token->disagreement});
  }
  if (call_.stream) {
    Begin(index);
    if (text.empty() && log_probs.empty() && elrea.is_null()) return;
    return SendChunk(ChunkChoice(index, text, LogProbsField(log_probs), nullptr), elrea);
  }
  for (Json& entry : log_probs) choice.log_probs.push_back(std::move(entry));
  if (!elrea.is_null()) choice.disagreement.push_back(token->disagreement);
}

void CompletionReply::OnEnd(int64_t index, Completion&& completion, EndCause cause) {
  Choice& choice = choices_[static_cast<size_t>(index)];
  choice.ended = true;
  choice.reused_tokens = completion.reused_tokens;
  // What OpenAI's clients know: an answer that was cut off is one that ran out of length.
  choice.finish_reason = cause == EndCause::kDone ? FinishReasonName(completion.reason) : "length";
  if (cause != EndCause::kDone) choice.decision["ended_by"] = CauseName(cause);
  if (call_.stream && !failed_) {
    Begin(index);
    Json elrea;
    if (cause != EndCause::kDone) elrea["ended_by"] = CauseName(cause);
    SendChunk(ChunkChoice(index, "", nullptr, choice.finish_reason), elrea);
  }
  if (--num_left_ > 0 || failed_) return;
  call_.stream ? FinishStream() : SendWhole();
  int64_t tokens = 0;
  for (const Choice& c : choices_) tokens += c.num_tokens;
  done_(cause == EndCause::kDisconnected ? 499 : 200, tokens);
}

// One choice that fails fails the answer: the others are told with it.
void CompletionReply::OnFailed(const ApiError& error) {
  --num_left_;
  if (failed_) return;
  failed_ = true;
  if (started_) {
    reply_->Write("data: " + JsonLine(error.ToJson()) + "\n\n");
    reply_->Finish();
  } else {
    HttpHeaders headers = headers_;
    if (error.retry_after_s > 0) headers.emplace_back("Retry-After", fmt::format("{:.0f}", error.retry_after_s));
    reply_->Send(error.status, "application/json", JsonLine(error.ToJson()) + "\n", headers);
  }
  done_(error.status, 0);
}

Json CompletionReply::Usage() const {
  int64_t prompt = 0, completion = 0, reused = 0;
  for (size_t i = 0; i < choices_.size(); ++i) {
    completion += choices_[i].num_tokens;
    if (i % static_cast<size_t>(call_.n) != 0) continue;  // choices of one prompt: counted once
    prompt += choices_[i].prompt_tokens;
    reused += choices_[i].reused_tokens;
  }
  return {{"prompt_tokens", prompt},
          {"completion_tokens", completion},
          {"total_tokens", prompt + completion},
          {"prompt_tokens_details", {{"cached_tokens", reused}}}};
}

void CompletionReply::FinishStream() {
  if (call_.include_usage) {
    Json chunk = Envelope(/*chunk=*/true);
    chunk["choices"] = Json::array();
    chunk["usage"] = Usage();
    reply_->Write("data: " + JsonLine(chunk) + "\n\n");
  }
  reply_->Write("data: [DONE]\n\n");
  reply_->Finish();
}

void CompletionReply::SendWhole() {
  Json answer = Envelope(/*chunk=*/false);
  answer["choices"] = Json::array();
  for (size_t i = 0; i < choices_.size(); ++i) {
    Choice& c = choices_[i];
    Json choice = {{"index", i}};
    if (call_.is_chat) {
      choice["message"] = {{"role", "assistant"}, {"content", c.text}, {"refusal", nullptr}};
    } else {
      choice["text"] = (call_.echo ? prompt_texts_.at(i / static_cast<size_t>(call_.n)) : "") + c.text;
    }
    choice["logprobs"] = LogProbsField(c.log_probs);
    choice["finish_reason"] = c.finish_reason;
    if (call_.ensemble.disagreement) c.decision["disagreement"] = c.disagreement;
    if (i > 0) choice["elrea"] = c.decision;
    answer["choices"].push_back(std::move(choice));
  }
  answer["usage"] = Usage();
  answer["elrea"] = choices_[0].decision;
  reply_->Send(200, "application/json", JsonLine(answer) + "\n", headers_);
}

}  // namespace elrea
