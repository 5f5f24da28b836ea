// The answer of /v1/embeddings: the routing features of its inputs, cut to a length.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "serve/completion_reply.h"

namespace elrea {

// Coordinates [0, dimensions) of a feature, at unit length. The coordinates of a random projection are alike, so that a
// part of them is a random projection too, onto fewer dimensions. REQUIRES: dimensions <= feature.size().
std::vector<float> TruncateFeature(std::span<const float> feature, int64_t dimensions);

// RFC 4648, with padding.
std::string Base64(std::string_view bytes);

// Its listeners are called from the decoding thread only.
class FeatureReply : public std::enable_shared_from_this<FeatureReply> {
 public:
  FeatureReply(std::shared_ptr<HttpReply> reply, const EmbeddingCall& call, std::string model_id, HttpHeaders headers,
               ReplyDone done)
      : reply_(std::move(reply)),
        call_(call),
        model_id_(std::move(model_id)),
        headers_(std::move(headers)),
        done_(std::move(done)) {}

  // For one input of this many tokens. To be called for each, in order, before any job is submitted.
  std::shared_ptr<JobListener> NextListener(int64_t num_tokens);

 private:
  class Listener;
  void OnFeature(size_t index, std::span<const float> feature);
  void OnEnd();
  void OnFailed(const ApiError& error);

  std::shared_ptr<HttpReply> reply_;
  EmbeddingCall call_;
  std::string model_id_;
  HttpHeaders headers_;
  ReplyDone done_;
  std::vector<Json> embeddings_;
  int64_t num_tokens_ = 0, num_left_ = 0;
  bool failed_ = false;
};

}  // namespace elrea
