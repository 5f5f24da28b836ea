// A served tiny run, and a client for it: whole answers through Boost.Beast, bytes through a plain socket.
#pragma once

#include <boost/asio.hpp>
#include <boost/beast.hpp>
#include <map>

#include "tests/tiny_run.h"

namespace elrea {

struct HttpAnswer {
  int status = 0;
  std::map<std::string, std::string> headers;  // lower-case names
  std::string body;
  Json json() const { return ParseJson(body, "the answer"); }
  // The `data:` lines of a stream, without the final [DONE], which must be there.
  std::vector<Json> events() const {
    std::vector<Json> events;
    bool done = false;
    for (const std::string& line : Split(body, '\n')) {
      if (!line.starts_with("data: ")) continue;
      done = line == "data: [DONE]";
      if (!done) events.push_back(ParseJson(line.substr(6), "an event"));
    }
    if (!done) events.clear();
    return events;
  }
};

// One connection. Waits for the server, 60 seconds at most; throws boost::system::system_error when it closes or is silent.
class HttpClient {
 public:
  explicit HttpClient(int port) : stream_(io_) {
    namespace asio = boost::asio;
    stream_.connect(asio::ip::tcp::endpoint(asio::ip::address_v4::loopback(), static_cast<uint16_t>(port)));
  }
  void SendBytes(std::string_view bytes) {
    boost::asio::write(stream_.socket(), boost::asio::buffer(bytes.data(), bytes.size()));
  }
  void Send(const std::string& method, const std::string& path, const std::string& body = "",
            const std::map<std::string, std::string>& headers = {}) {
    std::string bytes = method + " " + path +
                        " HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + std::to_string(body.size()) +
                        "\r\n";
    for (const auto& [name, value] : headers) bytes += name + ": " + value + "\r\n";
    SendBytes(bytes + "\r\n" + body);
  }
  HttpAnswer Receive() {
    namespace http = boost::beast::http;
    http::response<http::string_body> response;
    const boost::system::error_code error =
        Await([&](auto done) { http::async_read(stream_, buffer_, response, done); });
    if (error) throw boost::system::system_error(error);
    HttpAnswer answer{static_cast<int>(response.result_int()), {}, std::move(response.body())};
    for (const auto& field : response) {
      std::string name(field.name_string().data(), field.name_string().size());
      for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
      answer.headers[name] = std::string(field.value().data(), field.value().size());
    }
    return answer;
  }
  // Some bytes of what comes next; empty at the end of the stream.
  std::string ReceiveSome() {
    std::string bytes(4096, '\0');
    size_t length = 0;
    const boost::system::error_code error = Await([&](auto done) {
      stream_.async_read_some(boost::asio::buffer(bytes), [&length, done](auto e, size_t n) mutable {
        length = n;
        done(e, n);
      });
    });
    if (error == boost::beast::error::timeout) throw boost::system::system_error(error);
    bytes.resize(length);
    return bytes;
  }
  void Close() { stream_.close(); }
  void CloseSending() { stream_.socket().shutdown(boost::asio::ip::tcp::socket::shutdown_send); }

 private:
  template <typename Start>
  boost::system::error_code Await(Start&& start) {
    boost::system::error_code error;
    stream_.expires_after(std::chrono::seconds(60));
    start([&error](boost::system::error_code e, size_t) { error = e; });
    io_.restart();
    io_.run();
    stream_.expires_never();
    return error;
  }
  boost::asio::io_context io_;
  boost::beast::tcp_stream stream_;
  boost::beast::flat_buffer buffer_;
};

// `elrea serve` on a free port, ended with SIGTERM.
class ServeProgram {
 public:
  explicit ServeProgram(const fs::path& run, const std::vector<std::string>& more = {}, int threads = 1) {
    std::vector<std::string> command = {
        ELREA_BINARY_DIR "/elrea", "--threads=" + std::to_string(threads), "serve", "--run", run, "--port", "0"};
    command.insert(command.end(), more.begin(), more.end());
    WriteFileAtomically(scratch_ / "stdin", "");
    for (const char* name : {"stdout", "stderr"}) WriteFileAtomically(scratch_ / name, "");
    child_ = ::fork();
    if (child_ == 0) ExecElrea(command, scratch_, {});
    WaitForPort();
  }
  ~ServeProgram() { Stop(); }

  int port() const { return port_; }
  std::string log() const { return ReadFile(scratch_ / "stderr"); }
  void Signal(int signal_number) const { ::kill(child_, signal_number); }
  // Sends SIGTERM and waits; the exit code.
  int Stop() {
    if (child_ > 0) Signal(SIGTERM);
    return Wait();
  }
  int Wait() {
    if (child_ > 0) ::waitpid(child_, &status_, 0);
    child_ = -1;
    return WIFEXITED(status_) ? WEXITSTATUS(status_) : 128 + WTERMSIG(status_);
  }
  bool running() const { return child_ > 0 && ::waitpid(child_, nullptr, WNOHANG) == 0; }

  HttpAnswer Call(const std::string& method, const std::string& path, const std::string& body = "",
                  const std::map<std::string, std::string>& headers = {}) const {
    HttpClient client(port_);
    client.Send(method, path, body, headers);
    return client.Receive();
  }
  HttpAnswer Post(const std::string& path, const Json& body) const {
    return Call("POST", path, JsonLine(body));
  }
  // The value of a metric without labels.
  double Metric(const std::string& name) const {
    for (const std::string& line : Split(Call("GET", "/metrics").body, '\n')) {
      if (line.starts_with(name + " ")) return std::stod(line.substr(name.size() + 1));
    }
    return -1;
  }

 private:
  void WaitForPort() {
    for (int i = 0; i < 6000 && port_ == 0; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
      const std::string out = ReadFile(scratch_ / "stdout");
      const size_t colon = out.rfind(':');
      if (out.ends_with("\n") && colon != std::string::npos) port_ = std::stoi(out.substr(colon + 1));
      if (::waitpid(child_, &status_, WNOHANG) != 0) {
        child_ = -1;
        throw std::runtime_error("elrea serve ended: " + log());
      }
    }
  }
  TempDir scratch_;
  pid_t child_ = -1;
  int port_ = 0, status_ = 0;
};

// What a test of the server begins with: a tiny run, made once.
inline const fs::path& ServedTinyRun() {
  static const TinyRun* const tiny = [] {
    auto* made = new TinyRun;
    const ProgramResult result = made->Go();
    if (result.exit_code != 0) throw std::runtime_error(result.err);
    return made;
  }();
  static const fs::path path = tiny->run();
  return path;
}

}  // namespace elrea
