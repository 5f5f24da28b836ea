#include "serve/api_request.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "core/expect_error.h"
#include "core/temp_dir.h"
#include "serve/api_error.h"
#include "serve/api_keys.h"

namespace elrea {
namespace {

CompletionCall Chat(const std::string& fields, const SamplingOptions& defaults = {}) {
  return ParseChatCall(ParseBody(R"({"messages": [{"role": "user", "content": "x"}])" + fields + "}"), defaults, {});
}

// The field that an error names.
std::string FaultOf(const std::string& fields) {
  try {
    Chat(fields);
    return "no error";
  } catch (const ApiError& error) {
    EXPECT_EQ(error.status, 400);
    return error.param;
  }
}

TEST(ApiRequestTest, FieldsArriveWhereTheyBelong) {
  const CompletionCall call = Chat(
      R"(, "model": "m", "temperature": 0.5, "top_p": 0.9, "top_k": 5, "min_p": 0.1, "seed": -3, "stop": "END", "n": 2,
      "max_completion_tokens": 7, "logprobs": true, "top_logprobs": 4, "logit_bias": {"5": -1.5, "3": 2},
      "presence_penalty": 1, "frequency_penalty": -1, "stream": true, "stream_options": {"include_usage": true},
      "response_format": {"type": "text"}, "user": "me", "tools": null,
      "elrea": {"top_k": 2, "min_weight": 0.2, "temperature": 2, "nearest": 3, "disagreement": true, "deadline_s": 1.5,
                "weights": {"base": 1, "experts": [0, 2]}})");
  EXPECT_EQ(call.model, "m");
  EXPECT_EQ(call.sampling.temperature, 0.5);
  EXPECT_EQ(call.sampling.top_p, 0.9);
  EXPECT_EQ(call.sampling.top_k, 5);
  EXPECT_EQ(call.sampling.min_p, 0.1);
  EXPECT_EQ(call.sampling.seed, -3);
  EXPECT_EQ(call.sampling.stop, std::vector<std::string>{"END"});
  EXPECT_EQ(call.sampling.max_new_tokens, 7);
  EXPECT_EQ(call.sampling.presence_penalty, 1);
  EXPECT_EQ(call.sampling.frequency_penalty, -1);
  EXPECT_EQ(call.n, 2);
  EXPECT_TRUE(call.log_probs && call.stream && call.include_usage);
  EXPECT_EQ(call.num_alternatives, 4);
  ASSERT_EQ(call.logit_bias.size(), 2u);
  EXPECT_EQ(call.logit_bias[0], (std::pair<int32_t, float>(3, 2.0f)));
  EXPECT_EQ(call.ensemble.top_k, 2);
  EXPECT_EQ(call.ensemble.min_weight, 0.2);
  EXPECT_EQ(call.ensemble.nearest, 3);
  EXPECT_EQ(call.ensemble.deadline_s, 1.5);
  EXPECT_EQ(call.ensemble.expert_weights, (std::vector<double>{0, 2}));
}

TEST(ApiRequestTest, WhatIsNotSaidIsTheRunsDefault) {
  const SamplingOptions defaults{.max_new_tokens = 11, .temperature = 0.3, .stop = {"x"}};
  const CompletionCall call = Chat(R"(, "temperature": null)", defaults);
  EXPECT_EQ(call.sampling.max_new_tokens, 11);
  EXPECT_EQ(call.sampling.temperature, 0.3);
  EXPECT_EQ(call.sampling.stop, defaults.stop);
  EXPECT_FALSE(call.has_seed);
}

TEST(ApiRequestTest, FaultsNameTheirField) {
  EXPECT_EQ(FaultOf(R"(, "temperature": "hot")"), "temperature");
  EXPECT_EQ(FaultOf(R"(, "temperature": 2.5)"), "temperature");
  EXPECT_EQ(FaultOf(R"(, "top_p": -0.1)"), "top_p");
  EXPECT_EQ(FaultOf(R"(, "top_k": 1.5)"), "top_k");
  EXPECT_EQ(FaultOf(R"(, "seed": 1e30)"), "seed");
  EXPECT_EQ(FaultOf(R"(, "stop": [""])"), "stop");
  EXPECT_EQ(FaultOf(R"(, "stream": 1)"), "stream");
  EXPECT_EQ(FaultOf(R"(, "stream_options": {"include_usage": true})"), "stream_options");
  EXPECT_EQ(FaultOf(R"(, "top_logprobs": 3)"), "top_logprobs");
  EXPECT_EQ(FaultOf(R"(, "logit_bias": {"1": 101})"), "logit_bias");
  EXPECT_EQ(FaultOf(R"(, "logit_bias": {"1": 1, "01": 1})"), "logit_bias");
  EXPECT_EQ(FaultOf(R"(, "elrea": [])"), "elrea");
  EXPECT_EQ(FaultOf(R"(, "elrea": {"weights": {"experts": [-1]}})"), "elrea.weights.experts");
  EXPECT_EQ(FaultOf(R"(, "functions": [{}])"), "functions");
  EXPECT_EQ(FaultOf(R"(, "tempersture": 1)"), "tempersture");
}

TEST(ApiRequestTest, MessagesMayComeInParts) {
  const CompletionCall call = ParseChatCall(
      ParseBody(R"({"messages": [{"role": "developer", "content": "be brief"},
                {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]})"),
      {}, {});
  EXPECT_EQ(call.messages[0].role, "system");
  EXPECT_EQ(call.messages[1].content, "ab");
  EXPECT_THROW(ParseChatCall(ParseBody(R"({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]})"), {}, {}),
               ApiError);
}

TEST(ApiRequestTest, PromptsAreTextsOrTokens) {
  const auto parse = [](const std::string& prompt) {
    return ParseCompletionCall(ParseBody("{\"prompt\": " + prompt + "}"), {}, {}).prompts;
  };
  EXPECT_EQ(parse(R"("x")").size(), 1u);
  EXPECT_EQ(parse(R"(["x", "y"])").size(), 2u);
  EXPECT_EQ(std::get<std::vector<int32_t>>(parse("[1, 2]").at(0)), (std::vector<int32_t>{1, 2}));
  EXPECT_EQ(parse("[[1], [2, 3]]").size(), 2u);
  for (const char* bad : {"3", "{}", "[]", "[[]]", "[1.5]", "[\"x\", 1]", "[4294967296]"}) {
    EXPECT_THROW(parse(bad), ApiError) << bad;
  }
}

TEST(ApiRequestTest, ChoicesOfAllPromptsAreCounted) {
  const auto parse = [](int n) {
    return ParseCompletionCall(ParseBody(fmt::format(R"({{"prompt": ["x", "y"], "n": {}}})", n)), {}, {.max_choices = 6}).n;
  };
  EXPECT_EQ(parse(3), 3);
  try {
    parse(4);
    ADD_FAILURE() << "8 of 6 choices";
  } catch (const ApiError& error) {
    EXPECT_EQ(error.code, "too_many_choices");
  }
}

TEST(ApiRequestTest, BestOfIsOneChoiceOfOne) {
  const auto parse = [](const std::string& fields) { return ParseCompletionCall(ParseBody("{\"prompt\": \"x\"" + fields + "}"), {}, {}).n; };
  EXPECT_EQ(parse(R"(, "best_of": 1)"), 1);
  EXPECT_EQ(parse(R"(, "best_of": null, "n": 2)"), 2);
  for (const char* bad : {R"(, "best_of": 2)", R"(, "best_of": 2, "n": 2)", R"(, "best_of": 1, "n": 2)", R"(, "best_of": 0)"}) {
    EXPECT_THROW(parse(bad), ApiError) << bad;
  }
}

TEST(ApiKeysTest, OnlyWholeKeysOpen) {
  const std::vector<std::string> keys = {"0123456789abcdef", "another-long-key-here"};
  EXPECT_TRUE(IsKey("0123456789abcdef", keys));
  EXPECT_TRUE(IsKey("another-long-key-here", keys));
  for (const char* wrong : {"", "0123456789abcde", "0123456789abcdef0", "0123456789abcdeF",
                            "0123456789abcdef0123456789abcdef"}) {
    EXPECT_FALSE(IsKey(wrong, keys)) << wrong;
  }
}

TEST(ApiKeysTest, BadKeyFilesAreNamed) {
  const TempDir folder;
  WriteFileAtomically(folder / "keys", "# ours\n\n0123456789abcdef\n");
  EXPECT_EQ(ReadKeys(folder / "keys"), std::vector<std::string>{"0123456789abcdef"});
  WriteFileAtomically(folder / "keys", "short\n");
  ExpectError(ErrorKind::kInvalidInput, {"keys:1"}, [&] { ReadKeys(folder / "keys"); });
  WriteFileAtomically(folder / "keys", "# none\n");
  ExpectError(ErrorKind::kInvalidInput, {"no keys"}, [&] { ReadKeys(folder / "keys"); });
}

TEST(ApiRequest, WholeNumbersAreTokensHoweverTheyAreWritten) {
  const Json body = ParseBody(R"({"prompt": [5, 7.0, 1e2]})");
  const CompletionCall call = ParseCompletionCall(body, {}, {});
  EXPECT_EQ(std::get<std::vector<int32_t>>(call.prompts.at(0)), (std::vector<int32_t>{5, 7, 100}));
  EXPECT_THROW(ParseCompletionCall(ParseBody(R"({"prompt": [5, 7.5]})"), {}, {}), ApiError);
  const auto seed = [](const char* number) {
    return ParseCompletionCall(ParseBody(fmt::format(R"({{"prompt": "x", "seed": {}}})", number)), {}, {}).sampling.seed;
  };
  EXPECT_EQ(seed("-9007199254740992.0"), -(int64_t{1} << 53));
  EXPECT_EQ(seed("9.007199254740992e15"), int64_t{1} << 53);
  EXPECT_THROW(seed("9.007199254740994e15"), ApiError);
}

}  // namespace
}  // namespace elrea
