#include "bench/http_load.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio.hpp>
#include <boost/beast.hpp>
#include <cmath>

#include "bench/bench_support.h"
#include "core/error.h"
#include "core/text.h"

namespace elrea::bench {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using asio::ip::tcp;

class Connection {
 public:
  explicit Connection(int port) : socket_(io_) {
    socket_.connect(tcp::endpoint(asio::ip::address_v4::loopback(), static_cast<uint16_t>(port)));
    socket_.set_option(tcp::no_delay(true));
  }
  void Send(http::verb method, const char* path, const std::string& body) {
    http::request<http::string_body> request(method, path, 11);
    request.set(http::field::host, "localhost");
    request.set(http::field::connection, "close");
    request.body() = body;
    request.prepare_payload();
    http::write(socket_, request);
  }
  tcp::socket& socket() { return socket_; }
  boost::beast::flat_buffer& buffer() { return buffer_; }

 private:
  asio::io_context io_;
  tcp::socket socket_;
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

void ReadStream(Connection& connection, double begun, int64_t leave_after, LoadAnswer& answer) {
  http::response_parser<http::buffer_body> parser;
  parser.body_limit(boost::none);
  http::read_header(connection.socket(), connection.buffer(), parser);
  answer.status = static_cast<int>(parser.get().result_int());
  std::string pending;
  while (!parser.is_done()) {
    char piece[4096];
    parser.get().body() = {piece, sizeof piece, true};
    boost::system::error_code error;
    http::read_some(connection.socket(), connection.buffer(), parser, error);
    if (error && error != http::error::need_buffer) throw boost::system::system_error(error);
    pending.append(piece, sizeof piece - parser.get().body().size);
    if (answer.status == 200) TakeEvents(pending, begun, answer);
    if (leave_after > 0 && answer.num_events >= leave_after) return;
  }
}

}  // namespace

LoadAnswer AskStreaming(int port, const Json& body, int64_t leave_after) {
  LoadAnswer answer;
  const double begun = NowSeconds();
  try {
    Connection connection(port);
    connection.Send(http::verb::post, "/v1/completions", JsonLine(body));
    ReadStream(connection, begun, leave_after, answer);
  } catch (const boost::system::system_error&) {
    answer.status = 0;  // counted as lost
  }
  answer.total_s = NowSeconds() - begun;
  return answer;
}

ServerProcess::ServerProcess(const fs::path& elrea, const fs::path& run,
                             const std::vector<std::string>& options) {
  std::vector<std::string> command = {elrea.string(), "--log-level",           "warning", "serve",
                                      "--run",        "bench=" + run.string(), "--port",  "0"};
  command.insert(command.end(), options.begin(), options.end());
  std::vector<char*> argv;
  for (std::string& argument : command) argv.push_back(argument.data());
  argv.push_back(nullptr);
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw Error(ErrorKind::kIo, "no pipe for the server's output");
  child_ = ::fork();
  if (child_ == 0) {
    ::dup2(ends[1], STDOUT_FILENO);
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }
  ::close(ends[1]);
  output_ = ends[0];
  std::string line;
  for (char c; ::read(output_, &c, 1) == 1 && c != '\n';) line += c;
  const size_t colon = line.rfind(':');
  if (colon == std::string::npos) {
    throw Error(ErrorKind::kUnavailable, elrea.string() + " serve did not come up; build it first");
  }
  port_ = std::stoi(line.substr(colon + 1));
}

ServerProcess::~ServerProcess() {
  Stop();
  ::close(output_);
}

int ServerProcess::Stop() {
  if (child_ < 0) return -1;
  int status = 0;
  ::kill(child_, SIGTERM);
  ::waitpid(child_, &status, 0);
  child_ = -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

double ServerProcess::ResidentMib() const {
  for (const std::string& line : Split(ReadFile("/proc/" + std::to_string(child_) + "/status"), '\n')) {
    if (line.starts_with("VmRSS:")) return std::stod(line.substr(6)) / 1024;
  }
  return 0;
}

double ServerProcess::Metric(const std::string& name) const {
  Connection connection(port_);
  connection.Send(http::verb::get, "/metrics", "");
  http::response<http::string_body> response;
  http::read(connection.socket(), connection.buffer(), response);
  for (const std::string& line : Split(response.body(), '\n')) {
    if (line.starts_with(name + " ")) return std::stod(line.substr(name.size() + 1));
  }
  return -1;
}

double Percentile(std::vector<double> values, double percent) {
  std::sort(values.begin(), values.end());
  const auto rank = static_cast<size_t>(std::ceil(percent / 100 * static_cast<double>(values.size())));
  return values[std::max<size_t>(rank, 1) - 1];
}

}  // namespace elrea::bench
