#include "serve/feature_reply.h"

#include <fmt/format.h>

#include <cmath>

namespace elrea {

std::vector<float> TruncateFeature(std::span<const float> feature, int64_t dimensions) {
  std::vector<float> cut(feature.begin(), feature.begin() + dimensions);
  double squares = 0;
  for (const float x : cut) squares += static_cast<double>(x) * x;
  const auto scale = static_cast<float>(squares > 0 ? 1 / std::sqrt(squares) : 0);
  for (float& x : cut) x *= scale;
  return cut;
}

std::string Base64(std::string_view bytes) {
  static constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t word = 0;
    for (size_t j = 0; j < 3; ++j) {
      word = word << 8 | (i + j < bytes.size() ? static_cast<unsigned char>(bytes[i + j]) : 0u);
    }
    for (size_t j = 0; j < 4; ++j) text += i + j > bytes.size() ? '=' : kDigits[word >> (18 - 6 * j) & 63];
  }
  return text;
}

class FeatureReply::Listener : public JobListener {
 public:
  Listener(std::shared_ptr<FeatureReply> reply, size_t index) : reply_(std::move(reply)), index_(index) {}
  void OnDecision(const Decision& decision) override { reply_->OnFeature(index_, *decision.feature); }
  void OnToken(const DecodedToken*, const std::string&) override {}
  void OnEnd(Completion&&, EndCause) override { reply_->OnEnd(); }
  void OnFailed(const ApiError& error) override { reply_->OnFailed(error); }

 private:
  std::shared_ptr<FeatureReply> reply_;
  size_t index_;
};

std::shared_ptr<JobListener> FeatureReply::NextListener(int64_t num_tokens) {
  embeddings_.emplace_back();
  num_tokens_ += num_tokens;
  ++num_left_;
  return std::make_shared<Listener>(shared_from_this(), embeddings_.size() - 1);
}

void FeatureReply::OnFeature(size_t index, std::span<const float> feature) {
  const std::vector<float> cut =
      TruncateFeature(feature, call_.dimensions.value_or(static_cast<int64_t>(feature.size())));
  Json vector = cut;
  if (call_.base64) {
    vector = Base64({reinterpret_cast<const char*>(cut.data()), cut.size() * sizeof(float)});
  }
  embeddings_[index] = {{"object", "embedding"}, {"index", index}, {"embedding", std::move(vector)}};
}

void FeatureReply::OnEnd() {
  if (--num_left_ > 0 || failed_) return;
  const Json answer = {{"object", "list"},
                       {"data", embeddings_},
                       {"model", model_id_},
                       {"usage", {{"prompt_tokens", num_tokens_}, {"total_tokens", num_tokens_}}}};
  reply_->Send(200, "application/json", JsonLine(answer) + "\n", headers_);
  done_(200, 0);
}

void FeatureReply::OnFailed(const ApiError& error) {
  --num_left_;
  if (std::exchange(failed_, true)) return;
  HttpHeaders headers = headers_;
  if (error.retry_after_s > 0) headers.emplace_back("Retry-After", fmt::format("{:.0f}", error.retry_after_s));
  reply_->Send(error.status, "application/json", JsonLine(error.ToJson()) + "\n", headers);
  done_(error.status, 0);
}

}  // namespace elrea
