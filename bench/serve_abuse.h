// Clients that do not behave, and what the server has left of them afterwards.
#pragma once

#include "bench/serve_load.h"

namespace elrea::bench {

// Clients of which each leaves after a random number of tokens, or of milliseconds, `threads` at a time. A
// third of them only closes its sending side.
void LeaveAtRandom(const ServerProcess& server, const Questions& questions, int64_t clients, int64_t threads);

// True when requests, rows and memory of keys and values are back to nothing within ten seconds.
bool ComesToRest(const ServerProcess& server);

struct Crowd {
  int64_t open = 0, refused = 0;  // connections that were let in; that got 503 or were not let in
  double answer_s = -1;           // of one question among them; -1: it was not answered as it should be
  double mib_before = 0, mib_during = 0;
};
// Opens `connections` that say nothing, asks one question meanwhile, and closes them.
Crowd OpenMany(const ServerProcess& server, const Questions& questions, int64_t connections);

struct Slow {
  int64_t timed_out = 0, left_open = 0;  // answered 408 or closed by the server; still open long after
  double answer_s = -1;                  // as of Crowd
};
// Clients that send a request byte by byte, slower than `read_timeout_s` allows, while one asks as it should.
Slow SendSlowly(const ServerProcess& server, const Questions& questions, int64_t clients,
                double read_timeout_s);

// Raises this process's limit of open files as far as it may go; what it is then.
int64_t RaiseFileLimit();

}  // namespace elrea::bench
