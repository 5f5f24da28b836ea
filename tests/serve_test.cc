// `elrea serve` over HTTP, on a tiny run: the API's answers against those of the command line, streams, and
// manners.
#include <gtest/gtest.h>

#include <cctype>
#include <cmath>
#include <set>

#include "tests/serve_program.h"

namespace elrea {
namespace {

class ServeTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { server_ = new ServeProgram(ServedTinyRun(), {"--set", "model.dtype=f32"}); }
  static void TearDownTestSuite() {
    EXPECT_EQ(server_->Stop(), 0) << server_->log();
    delete server_;
  }
  static Json Chat(const std::string& text) {
    return {{"model", "run"}, {"messages", Json::array({{{"role", "user"}, {"content", text}}})}};
  }
  static HttpAnswer Ask(const Json& body) { return server_->Post("/v1/chat/completions", body); }
  // What `elrea generate` answers.
  static Json Generated(const std::string& prompt, std::vector<std::string> more = {}) {
    std::vector<std::string> arguments = {"generate", "--run", ServedTinyRun(), "--prompt", prompt, "--json"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const ProgramResult result = RunElrea(arguments);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return JsonLines(result.out).at(0);
  }

  static ServeProgram* server_;
};
ServeProgram* ServeTest::server_ = nullptr;

TEST_F(ServeTest, ChatEqualsTheCommandLine) {
  const HttpAnswer answer = Ask(Chat("What is 17 + 25?"));
  ASSERT_EQ(answer.status, 200) << answer.body;
  const Json json = answer.json(), expected = Generated("What is 17 + 25?");
  EXPECT_EQ(json["object"], "chat.completion");
  EXPECT_EQ(json["choices"][0]["message"]["content"], expected["text"]);
  EXPECT_EQ(json["choices"][0]["finish_reason"], expected["finish_reason"]);
  EXPECT_EQ(json["usage"]["prompt_tokens"], expected["prompt_tokens"]);
  EXPECT_EQ(json["usage"]["completion_tokens"], expected["tokens"].size());
  EXPECT_EQ(json["elrea"]["method"], "ensemble");
  EXPECT_NEAR(json["elrea"]["weights"]["base"].get<double>(), expected["weights"]["base"].get<double>(),
              1e-6);
  ASSERT_EQ(json["elrea"]["weights"]["experts"].size(), expected["weights"]["experts"].size());
  for (size_t c = 0; c < expected["weights"]["experts"].size(); ++c) {
    EXPECT_NEAR(json["elrea"]["weights"]["experts"][c].get<double>(),
                expected["weights"]["experts"][c].get<double>(), 1e-6);
  }
}

TEST_F(ServeTest, EveryMemberIsAModel) {
  const Json models = server_->Call("GET", "/v1/models").json();
  std::set<std::string> ids;
  for (const Json& model : models["data"]) ids.insert(model["id"].get<std::string>());
  EXPECT_TRUE(ids.contains("run"));
  EXPECT_TRUE(ids.contains("run/base"));
  EXPECT_TRUE(ids.contains("run/expert-1"));
  EXPECT_TRUE(ids.contains("run/backbone"));
  for (const char* method : {"base", "backbone"}) {
    Json body = Chat("Sort: cat3, dog1, ant2");
    body["model"] = std::string("run/") + method;
    const Json json = Ask(body).json();
    EXPECT_EQ(json["choices"][0]["message"]["content"],
              Generated("Sort: cat3, dog1, ant2", {"--method", method})["text"]);
    EXPECT_EQ(json["elrea"]["method"], method);
  }
}

TEST_F(ServeTest, AStreamIsTheSameText) {
  Json body = Chat("What is 31 + 12?");
  body["max_tokens"] = 12;
  body["logit_bias"] = {{"0", -100}, {"1", -100}, {"2", -100}};  // does not stop
  body["logprobs"] = true;
  body["top_logprobs"] = 2;
  const Json whole = Ask(body).json();
  body["stream"] = true;
  body["stream_options"] = {{"include_usage", true}};
  const HttpAnswer streamed = Ask(body);
  EXPECT_EQ(streamed.headers.at("content-type"), "text/event-stream; charset=utf-8");
  const std::vector<Json> events = streamed.events();
  ASSERT_GT(events.size(), 3u) << streamed.body;
  EXPECT_EQ(events[0]["choices"][0]["delta"]["role"], "assistant");
  EXPECT_TRUE(events[0]["elrea"].contains("weights"));
  std::string text;
  Json log_probs = Json::array();
  for (const Json& event : events) {
    for (const Json& choice : event["choices"]) {
      if (choice["delta"].contains("content")) text += choice["delta"]["content"].get<std::string>();
      if (choice["logprobs"].is_object()) {
        for (const Json& entry : choice["logprobs"]["content"]) log_probs.push_back(entry);
      }
    }
  }
  EXPECT_EQ(text, whole["choices"][0]["message"]["content"]);
  EXPECT_EQ(log_probs.size(), whole["choices"][0]["logprobs"]["content"].size());
  EXPECT_EQ(log_probs[0]["token"], whole["choices"][0]["logprobs"]["content"][0]["token"]);
  EXPECT_EQ(events.back()["usage"]["completion_tokens"], whole["usage"]["completion_tokens"]);
  EXPECT_EQ(events[events.size() - 2]["choices"][0]["finish_reason"], whole["choices"][0]["finish_reason"]);
}

TEST_F(ServeTest, LogProbabilitiesAreThoseOfTheLikeliestWhenGreedy) {
  Json body = Chat("What is 31 + 12?");
  body["logprobs"] = true;
  body["top_logprobs"] = 3;
  for (const Json& entry : Ask(body).json()["choices"][0]["logprobs"]["content"]) {
    ASSERT_EQ(entry["top_logprobs"].size(), 3u);
    EXPECT_EQ(entry["token"], entry["top_logprobs"][0]["token"]);
    EXPECT_EQ(entry["logprob"], entry["top_logprobs"][0]["logprob"]);
    EXPECT_GE(entry["top_logprobs"][0]["logprob"], entry["top_logprobs"][1]["logprob"]);
  }
}

TEST_F(ServeTest, CompletionsTakeTextsAndTokens) {
  const Json tokenized = server_->Post("/tokenize", {{"text", "hello there"}}).json();
  const Json body = {{"prompt", Json::array({"hello there", "Sort: ant"})},
                     {"n", 2},
                     {"max_tokens", 5},
                     {"seed", 7},
                     {"temperature", 1.0}};
  const Json json = server_->Post("/v1/completions", body).json();
  ASSERT_EQ(json["choices"].size(), 4u) << json.dump();
  for (int i = 0; i < 4; ++i) EXPECT_EQ(json["choices"][i]["index"], i);
  const Json again = server_->Post("/v1/completions", body).json();
  for (int i = 0; i < 4; ++i) EXPECT_EQ(json["choices"][i]["text"], again["choices"][i]["text"]);
  const Json greedy = server_->Post("/v1/completions", {{"prompt", "hello there"}, {"max_tokens", 5}}).json();
  const Json by_tokens =
      server_->Post("/v1/completions", {{"prompt", tokenized["tokens"]}, {"max_tokens", 5}}).json();
  EXPECT_EQ(greedy["choices"][0]["text"], by_tokens["choices"][0]["text"]);
  const Json echoed =
      server_->Post("/v1/completions", {{"prompt", "hello there"}, {"max_tokens", 5}, {"echo", true}}).json();
  EXPECT_EQ(echoed["choices"][0]["text"], "hello there" + greedy["choices"][0]["text"].get<std::string>());
}

TEST_F(ServeTest, ForcedWeightsMakeTheExpertAlone) {
  Json forced = Chat("What is 20 + 3?"), expert = forced;
  forced["elrea"] = {{"weights", {{"base", 0}, {"experts", {0, 2.5}}}}};
  expert["model"] = "run/expert-1";
  const Json a = Ask(forced).json(), b = Ask(expert).json();
  EXPECT_EQ(a["choices"][0]["message"]["content"], b["choices"][0]["message"]["content"]);
  EXPECT_EQ(a["elrea"]["members"], 1);
}

TEST_F(ServeTest, DisagreementAndNearestRowsOnRequest) {
  Json body = Chat("What is 20 + 3?");
  body["elrea"] = {{"disagreement", true}, {"nearest", 3}};
  const Json json = Ask(body).json();
  ASSERT_EQ(json["elrea"]["disagreement"].size(), json["usage"]["completion_tokens"].get<size_t>());
  for (const Json& value : json["elrea"]["disagreement"]) EXPECT_GE(value.get<double>(), 0);
  ASSERT_EQ(json["elrea"]["nearest_rows"].size(), 3u);
  EXPECT_EQ(json["elrea"]["nearest_rows"][0]["source"], "sums");
  body["elrea"]["weights"] = {{"experts", {1, 0}}};
  for (const Json& value : Ask(body).json()["elrea"]["disagreement"]) EXPECT_EQ(value, 0);
}

TEST_F(ServeTest, LogitBiasDecides) {
  const Json tokens = server_->Post("/tokenize", {{"text", "z"}}).json()["tokens"];
  Json body = {{"prompt", "abc abc abc"}, {"max_tokens", 4}, {"logit_bias", {{tokens.back().dump(), 100}}}};
  EXPECT_EQ(server_->Post("/v1/completions", body).json()["choices"][0]["text"].get<std::string>(), "zzzz");
}

struct BadRequest {
  const char* path;
  const char* body;
  int status;
  const char* part;  // of the message
};

TEST_F(ServeTest, BadInputIsAnErrorObject) {
  const char *chat = "/v1/chat/completions", *completions = "/v1/completions";
  const std::vector<BadRequest> all = {
      {chat, "", 400, "the body"},
      {chat, "{", 400, "the body"},
      {chat, "[]", 400, "object"},
      {chat, "\"\xff\"", 400, "the body"},
      {chat, "{}", 400, "messages"},
      {chat, R"({"messages": []})", 400, "messages"},
      {chat, R"({"messages": [{"role": "tool", "content": "x"}]})", 400, "messages[0].role"},
      {chat, R"({"messages": [{"role": "user"}]})", 400, "messages[0].content"},
      {chat, R"({"model": "nobody", "messages": [{"role": "user", "content": "x"}]})", 404, "nobody"},
      {chat, R"({"model": 3, "messages": [{"role": "user", "content": "x"}]})", 400, "model"},
      {chat, R"({"temprature": 1, "messages": [{"role": "user", "content": "x"}]})", 400, "temperature?"},
      {chat, R"({"temperature": -1, "messages": [{"role": "user", "content": "x"}]})", 400, "temperature"},
      {chat, R"({"temperature": 1e999, "messages": [{"role": "user", "content": "x"}]})", 400, ""},
      {chat, R"({"max_tokens": 0, "messages": [{"role": "user", "content": "x"}]})", 400, "max_tokens"},
      {chat, R"({"max_tokens": 99999999999999999999, "messages": [{"role": "user", "content": "x"}]})", 400,
       "max_tokens"},
      {chat, R"({"n": 1000, "messages": [{"role": "user", "content": "x"}]})", 400, "n must be"},
      {chat,
       R"({"response_format": {"type": "json_object"}, "messages": [{"role": "user", "content": "x"}]})", 400,
       "response_format"},
      {chat, R"({"tools": [{}], "messages": [{"role": "user", "content": "x"}]})", 400, "tools"},
      {chat, R"({"logit_bias": {"a": 1}, "messages": [{"role": "user", "content": "x"}]})", 400,
       "logit_bias"},
      {chat, R"({"logit_bias": {"99999999": 1}, "messages": [{"role": "user", "content": "x"}]})", 400,
       "99999999"},
      {chat, R"({"elrea": {"top": 1}, "messages": [{"role": "user", "content": "x"}]})", 400, "elrea.top"},
      {chat, R"({"elrea": {"weights": {"experts": [1]}}, "messages": [{"role": "user", "content": "x"}]})",
       400, "elrea.weights.experts"},
      {completions, R"({"prompt": []})", 400, "prompt"},
      {completions, R"({"prompt": [1, -2]})", 400, "prompt"},
      {completions, R"({"prompt": [99999999]})", 400, "99999999"},
      {completions, R"({"prompt": ""})", 400, "prompt"},
      {completions, R"({"prompt": "x", "stop": [1]})", 400, "stop"},
      {completions, R"({"prompt": "x", "suffix": "y"})", 400, "suffix"},
      {"/tokenize", R"({})", 400, "text"},
      {"/nothing", "{}", 404, "openapi"},
      {"/../../etc/passwd", "{}", 404, "nothing at this path"},
      {"/v1/models", "{}", 405, "GET"},
  };
  for (const BadRequest& bad : all) {
    const HttpAnswer answer = server_->Call("POST", bad.path, bad.body);
    EXPECT_EQ(answer.status, bad.status) << bad.body << " " << answer.body;
    const Json error = answer.json()["error"];
    EXPECT_NE(error["message"].get<std::string>().find(bad.part), std::string::npos)
        << bad.body << answer.body;
    EXPECT_TRUE(error.contains("type") && error.contains("param") && error.contains("code")) << answer.body;
  }
  EXPECT_EQ(server_->Call("GET", "/health").status, 200);
}

TEST_F(ServeTest, TooLongPromptsAreNamed) {
  std::string text;
  for (int i = 0; i < 3000; ++i) text += "abc ";
  const Json error = Ask(Chat(text)).json()["error"];
  EXPECT_EQ(error["code"], "context_length_exceeded") << error.dump();
}

TEST_F(ServeTest, BytesThatAreNoRequestGet400AndTheServerLives) {
  for (const char* bytes :
       {"hello\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\r\n\r\n",
        "POST /v1/completions HTTP/1.1\r\nContent-Length: -5\r\n\r\n"}) {
    HttpClient client(server_->port());
    client.SendBytes(bytes);
    const HttpAnswer answer = client.Receive();
    EXPECT_EQ(answer.status, 400) << bytes;
    EXPECT_TRUE(answer.json().contains("error"));
  }
  {
    HttpClient client(server_->port());
    client.SendBytes("GET /health HTTP/1.1\r\nX: " + std::string(100000, 'x'));
    EXPECT_EQ(client.Receive().status, 431);
  }
  {
    HttpClient client(server_->port());
    client.SendBytes("POST /tokenize HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n");
    EXPECT_EQ(client.Receive().status, 413);
  }
  EXPECT_EQ(server_->Call("GET", "/ready").status, 200);
}

TEST_F(ServeTest, OneConnectionCarriesManyRequests) {
  HttpClient client(server_->port());
  for (int i = 0; i < 5; ++i) {
    client.Send("GET", "/health");
    EXPECT_EQ(client.Receive().status, 200);
  }
  client.Send("POST", "/v1/completions", R"({"prompt": "abc abc", "max_tokens": 3, "stream": true})");
  EXPECT_GT(client.Receive().events().size(), 1u);
  client.Send("GET", "/health");
  EXPECT_EQ(client.Receive().status, 200);
}

TEST_F(ServeTest, AClientThatLeavesFreesItsRows) {
  const double before = server_->Metric("elrea_disconnected_total");
  {
    HttpClient client(server_->port());
    client.Send(
        "POST", "/v1/completions",
        R"({"prompt": "abc abc", "max_tokens": 100000, "stream": true, "logit_bias": {"2": -100, "1": -100, "0": -100}})");
    EXPECT_NE(client.ReceiveSome(), "");
  }
  for (int i = 0; i < 500 && server_->Metric("elrea_active_requests") > 0; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_EQ(server_->Metric("elrea_active_requests"), 0);
  EXPECT_EQ(server_->Metric("elrea_kv_bytes"), 0);
  EXPECT_GE(server_->Metric("elrea_disconnected_total"), before);
}

TEST_F(ServeTest, EmbeddingsAreFeaturesAtUnitLength) {
  const Json body = {{"input", {"What is 11 + 12?", "What is 30 + 9?", "Sort: cat1, dog4, ant5"}}};
  const Json json = server_->Post("/v1/embeddings", body).json();
  ASSERT_EQ(json["data"].size(), 3u) << json.dump();
  std::vector<std::vector<double>> features;
  for (const Json& item : json["data"]) features.push_back(item["embedding"].get<std::vector<double>>());
  const auto cosine = [&](int a, int b) {
    double sum = 0;
    for (size_t d = 0; d < features[a].size(); ++d) sum += features[a][d] * features[b][d];
    return sum;
  };
  ASSERT_EQ(features[0].size(), 256u);
  EXPECT_NEAR(cosine(0, 0), 1, 1e-5);
  EXPECT_GT(cosine(0, 1), cosine(0, 2));
  Json cut = body;
  cut["dimensions"] = 16;
  const auto part =
      server_->Post("/v1/embeddings", cut).json()["data"][0]["embedding"].get<std::vector<double>>();
  ASSERT_EQ(part.size(), 16u);
  double squares = 0;
  for (const double x : part) squares += x * x;
  EXPECT_NEAR(squares, 1, 1e-5);
  EXPECT_NEAR(part[3] / part[0], features[0][3] / features[0][0], 1e-4);
  cut["encoding_format"] = "base64";
  const auto text = server_->Post("/v1/embeddings", cut).json()["data"][0]["embedding"].get<std::string>();
  EXPECT_EQ(text.size(), 88u);  // 64 bytes
  EXPECT_EQ(server_->Post("/v1/embeddings", {{"input", "x"}, {"dimensions", 257}}).status, 400);
  EXPECT_EQ(server_->Post("/v1/embeddings", {{"input", "x"}, {"model", "run/base"}}).status, 400);
}

TEST_F(ServeTest, ThePageAndWhatItShows) {
  for (const char* path : {"/", "/app.js", "/style.css"}) {
    const HttpAnswer answer = server_->Call("GET", path);
    EXPECT_EQ(answer.status, 200) << path;
    EXPECT_GT(answer.body.size(), 500u) << path;
    EXPECT_NE(answer.headers.at("content-security-policy").find("default-src 'self'"), std::string::npos);
  }
  EXPECT_EQ(server_->Call("GET", "/app.js").body, ReadFile(fs::path(ELREA_SOURCE_DIR) / "serve/web/app.js"));
  const Json run = server_->Call("GET", "/elrea/runs/run").json();
  const Json clusters = ReadJsonFile(ServedTinyRun() / "clusters/clusters.json");
  ASSERT_EQ(run["clusters"]["clusters"].size(), clusters["clusters"].size());
  EXPECT_EQ(run["clusters"]["points"].size(), 48u);
  for (const Json& cluster : run["clusters"]["clusters"]) EXPECT_FALSE(cluster["examples"].empty());
  EXPECT_EQ(run["report"], ReadFile(ServedTinyRun() / "eval/report.txt"));
  EXPECT_EQ(server_->Call("GET", "/elrea/runs/none").status, 404);
}

TEST_F(ServeTest, EveryPathIsInTheOpenApiDocument) {
  const Json document = server_->Call("GET", "/openapi.json").json();
  for (const auto& [path, operations] : document["paths"].items()) {
    const std::string real = Split(path, '{').size() > 1 ? "/elrea/runs/none" : path;
    for (const auto& [method, about] : operations.items()) {
      if (method == "parameters") continue;
      std::string upper = method;
      for (char& c : upper) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
      const int status = server_->Call(upper, real, upper == "POST" ? "{}" : "").status;
      EXPECT_NE(status, 405) << upper << " " << real;
      EXPECT_TRUE(about["responses"].contains(std::to_string(status)))
          << upper << " " << real << " " << status;
    }
  }
}

// With several threads a worker may be the one that gets the signal.
class ServeShutdown : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Threads, ServeShutdown, testing::Values(1, 3));

TEST_P(ServeShutdown, FinishesWhatWasAccepted) {
  ServeProgram server(ServedTinyRun(), {}, GetParam());
  HttpClient busy(server.port());
  busy.Send(
      "POST", "/v1/completions",
      R"({"prompt": "abc abc", "max_tokens": 60, "stream": true, "logit_bias": {"0": -100, "1": -100, "2": -100}})");
  const std::string begun = busy.ReceiveSome();
  EXPECT_NE(begun, "");
  server.Signal(SIGTERM);
  std::string rest = begun;
  for (std::string more = busy.ReceiveSome(); !more.empty(); more = busy.ReceiveSome()) rest += more;
  EXPECT_NE(rest.find("data: [DONE]"), std::string::npos);
  EXPECT_EQ(rest.find("ended_by"), std::string::npos);
  EXPECT_EQ(server.Wait(), 0) << server.log();
}

// An answer of so many tokens: ends are made unlikely.
std::string LongRequest(int index, int tokens) {
  return fmt::format(
      R"({{"prompt": "abc {}", "max_tokens": {}, "logit_bias": {{"0": -100, "1": -100, "2": -100}}}})", index, tokens);
}

TEST(ServeManners, ShutdownUnderLoadLosesNoAcceptedRequest) {
  ServeProgram server(ServedTinyRun(), {"--set", "serve.scheduler.max_rows=3"});  // so that they take a while
  constexpr int kEach = 12, kTokens = 100;
  std::vector<std::unique_ptr<HttpClient>> accepted, late;
  for (int i = 0; i < kEach; ++i) {
    accepted.push_back(std::make_unique<HttpClient>(server.port()));
    accepted.back()->Send("POST", "/v1/completions", LongRequest(i, kTokens));
  }
  const auto known = [&] { return server.Metric("elrea_active_requests") + server.Metric("elrea_waiting_requests"); };
  for (int i = 0; i < 500 && known() < kEach; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  for (int i = 0; i < kEach; ++i) {  // some of these come too late
    late.push_back(std::make_unique<HttpClient>(server.port()));
    late.back()->Send("POST", "/v1/completions", LongRequest(100 + i, kTokens));
  }
  server.Signal(SIGTERM);
  int answered = 0;
  for (auto* clients : {&accepted, &late}) {
    for (auto& client : *clients) {
      const HttpAnswer answer = client->Receive();  // throws where the connection is cut
      const Json json = answer.json();
      if (clients == &accepted) {
        EXPECT_EQ(answer.status, 200) << answer.body;
      }
      if (answer.status == 503) {
        EXPECT_EQ(json["error"]["code"], "shutting_down");
        continue;
      }
      ++answered;
      EXPECT_EQ(json["usage"]["completion_tokens"], kTokens) << answer.body;
      EXPECT_FALSE(json["elrea"].contains("ended_by"));
    }
  }
  EXPECT_GE(answered, kEach);
  EXPECT_EQ(server.Wait(), 0) << server.log();
}

TEST(ServeManners, DeterministicAnswersDoNotDependOnTheirNeighbours) {
  ServeProgram server(ServedTinyRun(), {"--set", "serve.scheduler.deterministic=true"});
  const auto ask = [&](int index) {
    return server
        .Post("/v1/completions",
              {{"prompt", fmt::format("What is {} + {}?", 11 + index, 30 - index)},
               {"max_tokens", 24},
               {"logprobs", 3},
               {"logit_bias", {{"0", -100}, {"1", -100}, {"2", -100}}}})
        .json()["choices"];
  };
  constexpr int kRequests = 8;
  std::vector<Json> alone, together(kRequests);
  for (int i = 0; i < kRequests; ++i) alone.push_back(ask(i));
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < kRequests; ++i) threads.emplace_back([&, i] { together[i] = ask(i); });
  }
  for (int i = 0; i < kRequests; ++i) {
    EXPECT_EQ(alone[i], together[i]);  // log-probabilities to their last bit
    EXPECT_EQ(alone[i][0]["logprobs"]["token_logprobs"].size(), 24u);
  }
}

TEST(ServeManners, UnderPressureFewerExpertsAnswerAndTheAnswerSaysSo) {
  ServeProgram server(ServedTinyRun(), {"--set", "serve.scheduler.max_queue=8", "--set", "serve.scheduler.max_rows=3",
                                        "--set", "serve.scheduler.shed_experts=1", "--set", "routing.min_weight=0"});
  const Json calm = ParseJson(server.Call("POST", "/v1/completions", LongRequest(0, 5)).body, "the answer");
  EXPECT_EQ(calm["elrea"]["members"], 3);
  EXPECT_FALSE(calm["elrea"].contains("shed"));
  std::vector<std::unique_ptr<HttpClient>> clients;
  for (int i = 0; i < 8; ++i) {
    clients.push_back(std::make_unique<HttpClient>(server.port()));
    clients.back()->Send("POST", "/v1/completions", LongRequest(i, 100));
  }
  int shed = 0;
  for (auto& client : clients) {
    const Json elrea = client->Receive().json()["elrea"];
    if (!elrea.contains("shed")) continue;
    ++shed;
    EXPECT_EQ(elrea["shed"], true);
    EXPECT_EQ(elrea["members"], 2);
  }
  EXPECT_GE(shed, 1);
  EXPECT_EQ(server.Metric("elrea_shed_total"), shed);
}

TEST(ServeManners, OptionsOfTheServerDoNotForgetTheFlags) {
  // Both on free ports: with the default port the second could not listen.
  ServeProgram first(ServedTinyRun(), {"--set", "serve.max_body_kb=8"});
  ServeProgram second(ServedTinyRun(), {"--set", "serve.max_body_kb=8"});
  EXPECT_NE(first.port(), second.port());
}

TEST_F(ServeTest, APromptOfOneTokenIsRoutedByNothing) {
  const Json json = server_->Post("/v1/completions", {{"prompt", {5}}, {"max_tokens", 4}}).json();
  ASSERT_TRUE(json.contains("elrea")) << json.dump();
  EXPECT_EQ(json["elrea"]["weights"]["base"], 1);
  EXPECT_EQ(json["elrea"]["weights"]["experts"][0], json["elrea"]["weights"]["experts"][1]);
  EXPECT_EQ(server_->Post("/v1/completions", {{"prompt", {5}}, {"elrea", {{"nearest", 2}}}}).status, 400);
}

TEST_F(ServeTest, OpenConnectionsAreCounted) {
  const double before = server_->Metric("elrea_connections");
  HttpClient a(server_->port()), b(server_->port());
  a.Send("GET", "/health");
  b.Send("GET", "/health");
  EXPECT_EQ(a.Receive().status + b.Receive().status, 400);
  EXPECT_GE(server_->Metric("elrea_connections"), before + 2);
}

// Until the server has noticed that earlier clients are gone.
void WaitForConnections(const ServeProgram& server) {
  for (int i = 0; i < 500 && server.Call("GET", "/health").status == 503; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

TEST(ServeManners, KeysConnectionsBodiesAndTime) {
  const TempDir folder;
  WriteFileAtomically(folder / "keys", "a-key-of-16-chars\n");
  ServeProgram server(ServedTinyRun(), {"--api-keys", folder / "keys", "--set", "serve.max_connections=3", "--set",
                                        "serve.max_body_kb=1", "--set", "serve.read_timeout_s=0.3"});
  const std::string body = R"({"text": "x"})";
  EXPECT_EQ(server.Call("POST", "/tokenize", body).status, 401);
  EXPECT_EQ(server.Call("POST", "/tokenize", body, {{"Authorization", "Bearer a-key-of-16-charz"}}).status, 401);
  EXPECT_EQ(server.Call("POST", "/tokenize", body, {{"Authorization", "Bearer a-key-of-16-chars"}}).status, 200);
  EXPECT_EQ(server.Call("GET", "/health").status, 200);
  EXPECT_EQ(server.Call("POST", "/tokenize", std::string(2000, 'x')).status, 413);
  {
    HttpClient a(server.port()), b(server.port()), c(server.port()), d(server.port());
    EXPECT_EQ(d.Receive().status, 503);
  }
  WaitForConnections(server);
  {
    HttpClient slow(server.port());  // one byte after the other
    const auto begun = std::chrono::steady_clock::now();
    std::string answer;
    try {
      for (const char byte : std::string_view("GET /health HTTP/1.1\r\nHost: a-name-that-takes-its-time\r\n")) {
        slow.SendBytes({&byte, 1});
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    answer = slow.ReceiveSome();
    } catch (const boost::system::system_error&) {  // cut while it still sent
    }
    EXPECT_TRUE(answer.empty() || answer.starts_with("HTTP/1.1 408")) << answer;
    EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(30));
}
WaitForConnections(server);
EXPECT_EQ(server.Call("GET", "/health").status, 200);
EXPECT_EQ(server.Call("OPTIONS", "/v1/models").status, 405);  // no CORS unless asked for
EXPECT_EQ(server.Stop(), 0);
// Keys, texts and unknown paths are not in the log.
EXPECT_EQ(server.log().find("a-key"), std::string::npos);
EXPECT_NE(server.log().find("route=/tokenize status=401"), std::string::npos) << server.log();
}

TEST(ServeManners, AFullQueueRefusesAndTheRestIsAnswered) {
  ServeProgram server(ServedTinyRun(),
                      {"--set", "serve.scheduler.max_queue=4", "--set", "serve.scheduler.max_rows=3"});
  std::vector<std::unique_ptr<HttpClient>> clients;
  for (int i = 0; i < 40; ++i) {
    clients.push_back(std::make_unique<HttpClient>(server.port()));
    clients.back()->Send("POST", "/v1/completions",
                         fmt::format(R"({{"prompt": "abc {}", "max_tokens": 40}})", i));
  }
  int answered = 0, refused = 0;
  for (auto& client : clients) {
    const HttpAnswer answer = client->Receive();
    answered += answer.status == 200;
    if (answer.status != 429) continue;
    ++refused;
    EXPECT_GE(std::stoi(answer.headers.at("retry-after")), 1);
    EXPECT_EQ(answer.json()["error"]["type"], "rate_limit_error");
  }
  EXPECT_EQ(answered + refused, 40);
  EXPECT_GE(answered, 4);
  EXPECT_GE(refused, 1);
}

TEST(ServeManners, RunsComeAndGo) {
  ServeProgram server(ServedTinyRun(), {"--set", "serve.manage_runs=true"});
  const std::string directory = ServedTinyRun();
  EXPECT_EQ(server.Post("/elrea/runs", {{"directory", directory}, {"name", "second"}}).status, 200);
  EXPECT_EQ(server.Post("/elrea/runs", {{"directory", directory}, {"name", "second"}}).status, 409);
  EXPECT_EQ(server.Post("/elrea/runs", {{"directory", "/nowhere"}, {"name", "third"}}).status, 404);
  EXPECT_EQ(server.Post("/elrea/runs", {{"directory", directory}, {"name", "../x"}}).status, 400);
  const Json ask = {{"prompt", "abc abc"}, {"max_tokens", 3}, {"model", "second"}};
  const Json first = server.Post("/v1/completions", ask).json();
  EXPECT_EQ(server.Post("/v1/completions", {{"prompt", "abc abc"}}).status, 400);  // which of two?
  EXPECT_EQ(server.Post("/elrea/runs/second", Json::object()).status, 200);
  EXPECT_EQ(server.Post("/v1/completions", ask).json()["choices"], first["choices"]);
  EXPECT_EQ(server.Call("DELETE", "/elrea/runs/second").status, 200);
  EXPECT_EQ(server.Post("/v1/completions", ask).status, 404);
  EXPECT_EQ(server.Call("GET", "/ready").status, 200);
  EXPECT_EQ(server.Call("DELETE", "/elrea/runs/run").status, 200);
  EXPECT_EQ(server.Call("GET", "/ready").status, 503);
}

}  // namespace
}  // namespace elrea
