#include "serve/http_connection.h"

#include <fmt/format.h>
#include <sys/socket.h>

namespace elrea {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;

namespace {

std::chrono::milliseconds Milliseconds(double seconds) {
  return std::chrono::milliseconds(static_cast<int64_t>(seconds * 1000));
}

std::string Text(beast::string_view view) { return {view.data(), view.size()}; }

}  // namespace

// Hands every call over to the server's thread, with the number of the request it belongs to.
class HttpConnection::Reply : public HttpReply {
 public:
  Reply(std::shared_ptr<HttpConnection> connection, uint64_t number)
      : connection_(std::move(connection)), number_(number) {}
  void Send(int status, const std::string& content_type, std::string body, HttpHeaders headers) override {
    Post([status, content_type, headers, body = std::move(body)](HttpConnection& c, uint64_t number) {
      c.SendWhole(number, status, content_type, body, headers);
    });
  }
  void Start(const std::string& content_type, HttpHeaders headers) override {
    Post([content_type, headers](HttpConnection& c, uint64_t number) { c.SendHead(number, content_type, headers); });
  }
  void Write(std::string piece) override {
    Post([piece = std::move(piece)](HttpConnection& c, uint64_t number) { c.SendPiece(number, piece); });
  }
  void Finish() override {
    Post([](HttpConnection& c, uint64_t number) { c.SendEnd(number); });
  }
  void OnClosed(std::function<void()> closed) override {
    Post([closed = std::move(closed)](HttpConnection& c, uint64_t number) {
      if (c.Answers(number)) {
        c.on_closed_ = closed;
      } else if (c.closed_ && c.number_ == number) {
        closed();
      }
    });
  }

 private:
  // This reply may be gone when the action runs: it is given all it needs.
  template <typename Action>
  void Post(Action action) {
    asio::post(connection_->stream_.get_executor(),
               [connection = connection_, number = number_, action = std::move(action)] { action(*connection, number); });
  }
  std::shared_ptr<HttpConnection> connection_;
  uint64_t number_;
};

HttpConnection::HttpConnection(asio::ip::tcp::socket socket, std::shared_ptr<HttpShared> shared)
    : shared_(std::move(shared)), stream_(std::move(socket)) {
  shared_->CountConnection(1);
  beast::error_code ignored;
  stream_.socket().set_option(asio::ip::tcp::no_delay(true), ignored);  // tokens are small and should not wait
}

HttpConnection::~HttpConnection() {
  shared_->CountConnection(-1);
}

void HttpConnection::Refuse() {
  replying_ = true;
  SendWhole(number_, 503, "application/json",
            shared_->callbacks.error_body(503, "too many connections; try again in a moment"), {{"Retry-After", "1"}});
}

void HttpConnection::Close() {
  if (closed_) return;
  closed_ = true;
  beast::error_code ignored;
  stream_.socket().shutdown(asio::ip::tcp::socket::shutdown_both, ignored);
  stream_.close();
  pending_.clear();
  if (replying_) {
    replying_ = false;
    if (auto closed = std::exchange(on_closed_, nullptr); closed && !ended_) closed();
  }
}

bool HttpConnection::Busy() const {
  beast::error_code error;
  return !closed_ && (replying_ || stream_.socket().available(error) > 0);
}

void HttpConnection::ReadHead() {
  parser_.emplace();
  parser_->header_limit(static_cast<uint32_t>(shared_->limits.max_header_bytes));
  parser_->body_limit(static_cast<uint64_t>(shared_->limits.max_body_bytes));
  stream_.expires_after(Milliseconds(shared_->limits.read_timeout_s));  // for head and body together
  http::async_read_header(stream_, buffer_, *parser_,
                          [self = shared_from_this()](beast::error_code error, size_t) {
                            if (error) return self->FailRead(error);
                            if (self->parser_->get()[http::field::expect] != "100-continue") return self->ReadBody();
                            static constexpr char kContinue[] = "HTTP/1.1 100 Continue\r\n\r\n";
                            asio::async_write(self->stream_, asio::buffer(kContinue, sizeof kContinue - 1),
                                              [self](beast::error_code failed, size_t) {
                                                failed ? self->FailRead(failed) : self->ReadBody();
                                              });
                          });
}

void HttpConnection::ReadBody() {
  http::async_read(stream_, buffer_, *parser_, [self = shared_from_this()](beast::error_code error, size_t) {
    error ? self->FailRead(error) : self->Dispatch();
  });
}

void HttpConnection::FailRead(beast::error_code error) {
  int status = 400;
  std::string message = "the request is not HTTP: " + error.message();
  if (error == http::error::body_limit) {
    status = 413;
    message = fmt::format("the body is larger than {} bytes", shared_->limits.max_body_bytes);
  } else if (error == http::error::header_limit) {
    status = 431;
    message = fmt::format("the headers are larger than {} bytes", shared_->limits.max_header_bytes);
  } else if (error == beast::error::timeout) {
    if (!parser_->got_some()) return Close();
    status = 408;
    message = fmt::format("the request did not come within {} s", shared_->limits.read_timeout_s);
  } else if (error.category() != http::make_error_code(http::error::bad_method).category() ||
             error == http::error::end_of_stream || error == http::error::partial_message) {
    return Close();  // the client closed, or the network failed
  }
  keep_alive_ = false;
  chunked_ = false;
  head_only_ = false;
  replying_ = true;
  SendWhole(number_, status, "application/json", shared_->callbacks.error_body(status, message), {});
}

void HttpConnection::Dispatch() {
  auto message = parser_->release();
  ++number_;
  replying_ = true;
  ended_ = false;
  chunked_ = message.version() >= 11;
  keep_alive_ = message.keep_alive();
  head_only_ = message.method() == http::verb::head;
  stream_.expires_never();
  HttpRequest request;
  request.method = Text(message.method_string());
  const std::string target = Text(message.target());
  const size_t question = target.find('?');
  request.path = target.substr(0, question);
  if (question != std::string::npos) request.query = target.substr(question + 1);
  request.authorization = Text(message[http::field::authorization]);
  request.origin = Text(message[http::field::origin]);
  request.body = std::move(message.body());
  beast::error_code error;
  const auto peer = stream_.socket().remote_endpoint(error);
  if (!error) request.peer = peer.address().to_string();
  WatchForClose();
  shared_->callbacks.handler(request, std::make_shared<Reply>(shared_from_this(), number_));
}

// Nothing is read while a request is answered, so that the end of the stream would go unseen: the socket is watched
// for it. A client that sends its next request already is not watched further.
void HttpConnection::WatchForClose() {
  stream_.socket().async_wait(asio::ip::tcp::socket::wait_read,
                              [self = shared_from_this(), number = number_](beast::error_code error) {
                                if (error || !self->Answers(number) || self->buffer_.size() > 0) return;
                                char byte;
                                const ssize_t got = ::recv(self->stream_.socket().native_handle(), &byte, 1,
                                                           MSG_PEEK | MSG_DONTWAIT);
                                if (got > 0) return;
                                if (got < 0 && (errno == EAGAIN || errno == EINTR)) return self->WatchForClose();
                                self->Close();
                              });
}

std::string HttpConnection::Head(int status, const std::string& content_type, const HttpHeaders& headers,
                                 std::optional<size_t> length) {
  if (shared_->closing) keep_alive_ = false;
  if (!length && !chunked_) keep_alive_ = false;  // HTTP/1.0: the body ends with the connection
  const auto reason = http::obsolete_reason(static_cast<http::status>(status));
  std::string head = fmt::format("HTTP/1.1 {} {}\r\nServer: elrea\r\nContent-Type: {}\r\n", status, Text(reason),
                                 content_type);
  if (length) head += fmt::format("Content-Length: {}\r\n", *length);
  if (!length && chunked_) head += "Transfer-Encoding: chunked\r\n";
  for (const auto& [name, value] : headers) head += name + ": " + value + "\r\n";
  return head + (keep_alive_ ? "Connection: keep-alive\r\n\r\n" : "Connection: close\r\n\r\n");
}

void HttpConnection::SendWhole(uint64_t number, int status, const std::string& content_type, std::string body,
                               const HttpHeaders& headers) {
  if (!Answers(number)) return;
  std::string bytes = Head(status, content_type, headers, body.size());
  if (!head_only_) bytes += body;
  Queue(std::move(bytes), true);
}

void HttpConnection::SendHead(uint64_t number, const std::string& content_type, const HttpHeaders& headers) {
  if (Answers(number)) Queue(Head(200, content_type, headers, std::nullopt), false);
}

void HttpConnection::SendPiece(uint64_t number, const std::string& piece) {
  if (!Answers(number) || piece.empty()) return;
  Queue(chunked_ ? fmt::format("{:x}\r\n{}\r\n", piece.size(), piece) : piece, false);
}

void HttpConnection::SendEnd(uint64_t number) {
  if (Answers(number)) Queue(chunked_ ? "0\r\n\r\n" : "", true);
}

void HttpConnection::Queue(std::string bytes, bool last) {
  if (ended_) return;
  ended_ = last;
  pending_bytes_ += bytes.size();
  pending_.push_back(std::move(bytes));
  if (pending_bytes_ > static_cast<size_t>(shared_->limits.max_pending_bytes)) {
    ended_ = false;  // it does not reach the client
    return Close();
  }
  if (!writing_) WriteNext();
}

void HttpConnection::WriteNext() {
  if (pending_.empty()) {
    writing_ = false;
    if (ended_) EndReply();
    return;
  }
  writing_ = true;
  stream_.expires_after(Milliseconds(shared_->limits.write_timeout_s));
  auto bytes = std::make_shared<std::string>(std::move(pending_.front()));
  pending_.pop_front();
  asio::async_write(stream_, asio::buffer(*bytes), [self = shared_from_this(), bytes](beast::error_code error, size_t) {
    self->pending_bytes_ -= std::min(self->pending_bytes_, bytes->size());
    if (error) {
      self->ended_ = false;
      return self->Close();
    }
    if (self->closed_) return;
    self->stream_.expires_never();
    self->WriteNext();
  });
}

void HttpConnection::EndReply() {
  replying_ = false;
  ended_ = false;
  on_closed_ = nullptr;
  if (keep_alive_ && !shared_->closing) return ReadHead();
  // What the client still sends is let go unread: closing over unread bytes would reset the connection, and the reply
  // might be lost with it.
  beast::error_code ignored;
  stream_.socket().shutdown(asio::ip::tcp::socket::shutdown_send, ignored);
  stream_.expires_after(std::chrono::seconds(2));
  auto rest = std::make_shared<std::array<char, 4096>>();
  const auto drain = [self = shared_from_this(), rest](const auto& again, size_t left) -> void {
    self->stream_.async_read_some(asio::buffer(*rest), [self, rest, again, left](beast::error_code error, size_t n) {
      if (error || n > left) return self->Close();
      again(again, left - n);
    });
  };
  drain(drain, size_t{1} << 20);
}

}  // namespace elrea
