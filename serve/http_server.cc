#include "serve/http_server.h"

#include <fmt/format.h>

#include <algorithm>
#include <future>
#include <set>

#include "core/error.h"
#include "core/log.h"
#include "serve/http_connection.h"

namespace elrea {

namespace asio = boost::asio;
using asio::ip::tcp;

struct HttpServer::Shared {
  std::shared_ptr<HttpShared> connections = std::make_shared<HttpShared>();
  asio::io_context& io = connections->io;
  asio::executor_work_guard<asio::io_context::executor_type> work{io.get_executor()};
  tcp::acceptor acceptor{io};
  asio::steady_timer pause{io};  // after an accept that failed for want of descriptors
  std::vector<std::weak_ptr<HttpConnection>> open;  // may hold some that ended

  void Accept() {
    acceptor.async_accept([this](boost::system::error_code error, tcp::socket socket) {
      if (error == asio::error::operation_aborted || !acceptor.is_open()) return;
      if (error) return RetryAccept(error);
      Begin(std::move(socket));
      Accept();
    });
  }

  void Begin(tcp::socket socket) {
    const bool full = connections->num_connections >= connections->limits.max_connections;
    auto connection = std::make_shared<HttpConnection>(std::move(socket), connections);
    Remember(connection);
    full ? connection->Refuse() : connection->Start();
  }

  // Those that clients have made and the system holds in its queue: closing the acceptor would reset them.
  void AcceptQueued() {
    boost::system::error_code error;
    acceptor.non_blocking(true, error);
    while (!error) {
      tcp::socket socket = acceptor.accept(error);
      if (!error) Begin(std::move(socket));
    }
  }

  void RetryAccept(boost::system::error_code error) {
    LogWarning("serve", "cannot accept a connection: {}", error.message());
    pause.expires_after(std::chrono::milliseconds(100));
    pause.async_wait([this](boost::system::error_code cancelled) {
      if (!cancelled) Accept();
    });
  }

  void Remember(const std::shared_ptr<HttpConnection>& connection) {
    if (open.size() > 2 * static_cast<size_t>(connections->num_connections) + 64) {
      std::erase_if(open, [](const auto& weak) { return weak.expired(); });
    }
    open.push_back(connection);
  }
};

HttpServer::HttpServer(const std::string& host, int port, HttpLimits limits, HttpCallbacks callbacks)
    : shared_(std::make_shared<Shared>()) {
  shared_->connections->limits = limits;
  shared_->connections->callbacks = std::move(callbacks);
  try {
    const tcp::endpoint endpoint(asio::ip::make_address(host), static_cast<uint16_t>(port));
    shared_->acceptor.open(endpoint.protocol());
    shared_->acceptor.set_option(tcp::acceptor::reuse_address(true));
    shared_->acceptor.bind(endpoint);
    shared_->acceptor.listen(4096);
  } catch (const boost::system::system_error& error) {
    throw Error(ErrorKind::kInvalidInput,
                fmt::format("cannot listen on {} port {}: {}; choose a numeric address of this machine for --host and a "
                            "free port for --port",
                            host, port, error.code().message()));
  }
  shared_->Accept();
  thread_ = std::jthread([shared = shared_] { shared->io.run(); });
}

HttpServer::~HttpServer() {
  asio::post(shared_->io, [shared = shared_] {
    boost::system::error_code ignored;
    shared->acceptor.close(ignored);
    for (const auto& weak : shared->open) {
      if (const auto connection = weak.lock()) connection->Close();
    }
    shared->pause.cancel();
    shared->work.reset();  // the thread ends when the last operation has
  });
  thread_.join();
}

int HttpServer::port() const { return shared_->acceptor.local_endpoint().port(); }

void HttpServer::StopAccepting() {
  shared_->connections->closing = true;
  asio::post(shared_->io, [shared = shared_] {
    boost::system::error_code ignored;
    shared->AcceptQueued();
    shared->acceptor.close(ignored);
  });
}

void HttpServer::WaitUntilWritten(double seconds) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  for (;;) {
    std::promise<bool> busy;
    asio::post(shared_->io, [&] {
      busy.set_value(std::any_of(shared_->open.begin(), shared_->open.end(), [](const auto& weak) {
        const auto connection = weak.lock();
        return connection && connection->Busy();
      }));
    });
    if (!busy.get_future().get() || std::chrono::steady_clock::now() >= until) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

}  // namespace elrea
