// Load on a server and what the clients saw of it. Every question asks for a token of its own, over and over
// (by logit_bias), after its own prompt (echoed): a stream that got anything of another, or lost anything, is
// told by its content.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "bench/http_load.h"

namespace elrea::bench {

// A token and the text it stands for.
struct Mark {
  int32_t token;
  std::string text;
};
// Of a common text, as the server's tokenizer cuts it; at least 16. kUnavailable when there are fewer.
std::vector<Mark> FindMarks(int port);

struct Question {
  std::string prompt;
  Mark mark;
  Json body;
};

// What clients ask for.
struct Questions {
  std::vector<Mark> marks;
  std::string model;  // as in the API; empty: the run's ensemble
  int64_t first = 0,
          num_prompts = 0;  // question i has prompt first + i % num_prompts; 0: never the same twice
  int64_t new_tokens = 64;
  double deadline_s = 60;
  Question At(int64_t index) const;
};

struct Tally {
  std::string fault;                           // of the first request that was lost
  std::vector<double> first_token_s, total_s;  // of answers
  int64_t answered = 0, cut = 0;               // cut: of the answered, ended by their deadline
  int64_t refused = 0;                         // 429
  int64_t lost = 0, mixed_up = 0, late = 0;    // what must not be
  double seconds = 0;                          // until the last answer was there
  double tokens_per_s = 0;                     // of the server, while all clients asked; of a counted number of
                                               // questions, until they are answered
  double tokens_per_cpu_s = 0;  // the same by a second of its processors: what others on the machine do
                                // shows in it least
  bool sound() const { return lost == 0 && mixed_up == 0 && late == 0; }
  void Add(const Tally& other);  // all but rates
};

struct LoadPlan {
  int64_t clients = 1;
  double seconds = 15;       // new questions are asked for so long, once all clients have begun
  double ramp_s = 0;         // in which the clients begin one after the other
  int64_t most = INT64_MAX;  // questions in all
  double offered_per_s = 0;  // questions come at these times whether others are answered or not; 0: a client
                             // asks when it was answered
};
// Numbers of the questions: 0, 1, ...
Tally Load(const ServerProcess& server, const Questions& questions, const LoadPlan& plan);

struct PeerTimes {
  double seconds = 0, cpu_s = 0;
};
// Until a peer's server has answered the questions 0 to count - 1, asked at the same moment. kUnavailable
// when an answer is not whole.
PeerTimes AskPeer(const ChildServer& peer, const Questions& questions, int64_t count);

// One line on standard error.
void Report(const std::string& name, const Tally& tally);

}  // namespace elrea::bench
