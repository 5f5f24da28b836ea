#include "bench/http_load.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <utility>  // Boost 1.74's asio needs it and does not include it

#include <boost/asio.hpp>
#include <boost/beast.hpp>
#include <cmath>
#include <limits>

#include "bench/bench_support.h"
#include "core/error.h"
#include "core/text.h"

namespace elrea::bench {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using asio::ip::tcp;

// Every operation ends within kPatience_s.
class Connection {
 public:
  explicit Connection(int port) : stream_(io_) {
    stream_.connect(tcp::endpoint(asio::ip::address_v4::loopback(), static_cast<uint16_t>(port)));
    stream_.socket().set_option(tcp::no_delay(true));
  }
  void Send(http::verb method, const std::string& path, const std::string& body) {
    http::request<http::string_body> request(method, path, 11);
    request.set(http::field::host, "localhost");
    request.set(http::field::connection, "close");
    request.set(http::field::content_type, "application/json");
    request.body() = body;
    request.prepare_payload();
    http::write(stream_, request);
  }
  // Of asynchronous operations only: blocking ones have no deadline.
  template <typename Start>
  boost::system::error_code Await(double seconds, Start&& start) {
    boost::system::error_code error;
    stream_.expires_after(std::chrono::milliseconds(static_cast<int64_t>(seconds * 1e3)));
    start([&error](boost::system::error_code e, size_t) { error = e; });
    io_.restart();
    io_.run();
    return error;
  }
  boost::beast::tcp_stream& stream() { return stream_; }
  boost::beast::flat_buffer& buffer() { return buffer_; }

 private:
  asio::io_context io_;
  boost::beast::tcp_stream stream_;
  boost::beast::flat_buffer buffer_;
};

// Takes the whole events from the front of `bytes`.
void TakeEvents(std::string& bytes, double begun, LoadAnswer& answer) {
  for (size_t end = bytes.find("\n\n"); end != std::string::npos; end = bytes.find("\n\n")) {
    const std::string event = bytes.substr(0, end);
    bytes.erase(0, end + 2);
    if (event == "data: [DONE]") {
      answer.complete = true;
      continue;
    }
    const Json json = ParseJson(std::string_view(event).substr(6), "an event");
    if (!json.contains("choices") || json["choices"].empty()) continue;
    const auto text = json["choices"][0].value("text", std::string());
    if (text.empty()) continue;
    answer.text += text;
    if (answer.num_events++ == 0) answer.first_token_s = NowSeconds() - begun;
  }
}

void ReadStream(Connection& connection, double begun, const LeaveAfter& leave, LoadAnswer& answer) {
  const auto patience = [&] {
    return leave.seconds > 0 ? std::max(0.001, begun + leave.seconds - NowSeconds()) : kPatience_s;
  };
  // A buffer that is full, or not there yet, is no fault.
  const auto check = [](boost::system::error_code error) {
    if (error && error != http::error::need_buffer) throw boost::system::system_error(error);
  };
  http::response_parser<http::buffer_body> parser;
  parser.body_limit(std::numeric_limits<uint64_t>::max());
  check(connection.Await(patience(), [&](auto done) {
    http::async_read_header(connection.stream(), connection.buffer(), parser, done);
  }));
  answer.status = static_cast<int>(parser.get().result_int());
  if (answer.status != 200) return;
  std::string pending;
  while (!parser.is_done()) {
    char piece[4096];
    parser.get().body() = {piece, sizeof piece, true};
    check(connection.Await(patience(), [&](auto done) {
      http::async_read_some(connection.stream(), connection.buffer(), parser, done);
    }));
    pending.append(piece, sizeof piece - parser.get().body().size);
    TakeEvents(pending, begun, answer);
    if (leave.events > 0 && answer.num_events >= leave.events) return;
  }
}

}  // namespace

LoadAnswer AskStreaming(int port, const Json& body, const LeaveAfter& leave) {
  LoadAnswer answer;
  const double begun = NowSeconds();
  try {
    Connection connection(port);
    connection.Send(http::verb::post, "/v1/completions", JsonLine(body));
    ReadStream(connection, begun, leave, answer);
  } catch (const boost::system::system_error& error) {
    answer.status = 0;  // counted as lost
    answer.fault = error.what();
  }
  answer.total_s = NowSeconds() - begun;
  return answer;
}

WholeAnswer Ask(int port, const std::string& method, const std::string& path, const std::string& body) {
  http::response<http::string_body> response;
  try {
    Connection connection(port);
    connection.Send(http::string_to_verb(method), path, body);
    const auto error = connection.Await(kPatience_s, [&](auto done) {
      http::async_read(connection.stream(), connection.buffer(), response, done);
    });
    if (error) return {};
  } catch (const boost::system::system_error&) {
    return {};
  }
  return {static_cast<int>(response.result_int()), std::move(response.body())};
}

struct RawClient::State {
  explicit State(int port) : connection(port) {}
  Connection connection;
};

RawClient::RawClient(int port) : state_(std::make_unique<State>(port)) {}
RawClient::~RawClient() = default;

bool RawClient::Send(std::string_view bytes) {
  boost::system::error_code error;
  asio::write(state_->connection.stream().socket(), asio::buffer(bytes.data(), bytes.size()), error);
  return !error;
}

void RawClient::CloseSending() { state_->connection.stream().socket().shutdown(tcp::socket::shutdown_send); }

std::string RawClient::ReceiveFor(double seconds) {
  std::string received;
  const double until = NowSeconds() + seconds;
  boost::system::error_code error;
  while (!error && NowSeconds() < until) {
    char piece[4096];
    size_t length = 0;
    error = state_->connection.Await(until - NowSeconds(), [&](auto done) {
      state_->connection.stream().async_read_some(asio::buffer(piece),
                                                  [&length, done](auto e, size_t n) mutable {
                                                    length = n;
                                                    done(e, n);
                                                  });
    });
    received.append(piece, length);
  }
  return received;
}

ChildServer::ChildServer(std::vector<std::string> command) {
  std::vector<char*> argv;
  for (std::string& argument : command) argv.push_back(argument.data());
  argv.push_back(nullptr);
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw Error(ErrorKind::kIo, "no pipe for the server's output");
  child_ = ::fork();
  if (child_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);  // a bench that is killed leaves no server behind
    ::dup2(ends[1], STDOUT_FILENO);
    ::execvp(argv[0], argv.data());
    ::_exit(127);
  }
  ::close(ends[1]);
  output_ = ends[0];
  std::string line;
  for (char c; ::read(output_, &c, 1) == 1 && c != '\n';) line += c;
  const size_t colon = line.rfind(':');
  if (colon == std::string::npos) {
    Stop();
    throw Error(ErrorKind::kUnavailable, command[0] + " did not come up as a server");
  }
  port_ = std::stoi(line.substr(colon + 1));
}

ChildServer::~ChildServer() {
  Stop();
  ::close(output_);
}

int ChildServer::Stop() {
  if (child_ < 0) return -1;
  int status = 0;
  ::kill(child_, SIGTERM);
  ::waitpid(child_, &status, 0);
  child_ = -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

double ChildServer::ResidentMib() const {
  for (const std::string& line : Split(ReadFile("/proc/" + std::to_string(child_) + "/status"), '\n')) {
    if (line.starts_with("VmRSS:")) return std::stod(line.substr(6)) / 1024;
  }
  return 0;
}

namespace {

std::vector<std::string> ServeCommand(const fs::path& elrea, const fs::path& run, int64_t threads,
                                      const std::vector<std::string>& more) {
  std::vector<std::string> command = {elrea.string(), "--threads=" + std::to_string(threads)};
  for (const char* argument : {"--log-level", "warning", "serve", "--port", "0", "--run"})
    command.push_back(argument);
  command.push_back("bench=" + run.string());
  command.insert(command.end(), more.begin(), more.end());
  return command;
}

}  // namespace

ServerProcess::ServerProcess(const fs::path& elrea, const fs::path& run, int64_t threads,
                             const std::vector<std::string>& options)
    : ChildServer(ServeCommand(elrea, run, threads, options)) {}

double ServerProcess::Metric(const std::string& name) const {
  for (const std::string& line : Split(Ask(port(), "GET", "/metrics").body, '\n')) {
    if (line.starts_with(name + " ")) return std::stod(line.substr(name.size() + 1));
  }
  return -1;
}

double ChildServer::CpuSeconds() const {
  const std::string stat = ReadFile("/proc/" + std::to_string(child_) + "/stat");
  // Behind the name, which may hold anything: utime and stime are the 12th and 13th.
  const std::vector<std::string> fields = Split(stat.substr(stat.rfind(')') + 2), ' ');
  return (std::stod(fields[11]) + std::stod(fields[12])) / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

double Percentile(std::vector<double> values, double percent) {
  std::sort(values.begin(), values.end());
  const auto rank = static_cast<size_t>(std::ceil(percent / 100 * static_cast<double>(values.size())));
  return values[std::max<size_t>(rank, 1) - 1];
}

}  // namespace elrea::bench
