// One client's connection: reads a request, hands it on, writes the reply, and so on until one side closes.
#pragma once

#include <atomic>
#include <utility>  // Boost 1.74's asio needs it and does not include it

#include <boost/asio.hpp>
#include <boost/beast.hpp>
#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "serve/http_server.h"

namespace elrea {

// What all connections of a server share. Callbacks and limits are constant; the counts may be read by any thread.
struct HttpShared {
  boost::asio::io_context io{1};
  HttpLimits limits;
  HttpCallbacks callbacks;
  std::atomic<int64_t> num_connections = 0;
  std::atomic<bool> closing = false;     // no further requests

  void CountConnection(int64_t change) {
    num_connections += change;
    if (callbacks.on_connections) callbacks.on_connections(num_connections);
  }
};

// Lives as long as an operation or a reply refers to it. All work is done on the server's thread.
class HttpConnection : public std::enable_shared_from_this<HttpConnection> {
 public:
  HttpConnection(boost::asio::ip::tcp::socket socket, std::shared_ptr<HttpShared> shared);
  ~HttpConnection();

  void Start() { ReadHead(); }
  // Answers 503 and closes.
  void Refuse();
  void Close();
  // A reply is not yet written to its end, or the client has sent what is not read yet.
  bool Busy() const;

 private:
  class Reply;
  using Parser = boost::beast::http::request_parser<boost::beast::http::string_body>;

  void ReadHead();
  void ReadBody();
  void Dispatch();
  void FailRead(boost::beast::error_code error);
  void WatchForClose();
  // Called on the server's thread by replies; `number` is that of the request they belong to.
  void SendWhole(uint64_t number, int status, const std::string& content_type, std::string body,
                 const HttpHeaders& headers);
  void SendHead(uint64_t number, const std::string& content_type, const HttpHeaders& headers);
  void SendPiece(uint64_t number, const std::string& piece);
  void SendEnd(uint64_t number);
  void Queue(std::string bytes, bool last);
  void WriteNext();
  void EndReply();
  std::string Head(int status, const std::string& content_type, const HttpHeaders& headers,
                   std::optional<size_t> length);
  bool Answers(uint64_t number) const { return number == number_ && replying_ && !closed_; }

  std::shared_ptr<HttpShared> shared_;  // before the stream, which needs its context until the end
  boost::beast::tcp_stream stream_;
  boost::beast::flat_buffer buffer_;
  std::optional<Parser> parser_;
  std::deque<std::string> pending_;  // to be written; the first is being written
  size_t pending_bytes_ = 0;
  uint64_t number_ = 0;  // of the request at hand
  bool replying_ = false, ended_ = false, chunked_ = false, keep_alive_ = false, closed_ = false, writing_ = false;
  bool head_only_ = false;
  std::function<void()> on_closed_;
};

}  // namespace elrea
