// A TCP socket that never waits, as a ByteStream. The only header here that knows the system.
//
// The part for Windows is written by Winsock's documentation and was not compiled yet.
#pragma once

#ifdef _WIN32
#ifndef NOMINMAX
#define NOMINMAX
#endif
#include <winsock2.h>
#include <ws2tcpip.h>
#else
#include <cerrno>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>
#endif

#include <cstring>
#include <utility>

#include "entrain/byte_stream.hpp"

namespace entrain {

/// The few calls that differ between systems.
namespace sockets {

#ifdef _WIN32
using Handle = SOCKET;
constexpr Handle none = INVALID_SOCKET;

inline void start() {
  // Counted by Windows; a process that ends gives it back.
  static const int started = [] {
    WSADATA data;
    return WSAStartup(MAKEWORD(2, 2), &data);
  }();
  static_cast<void>(started);
}
inline int error() { return WSAGetLastError(); }
inline bool would_wait(int code) { return code == WSAEWOULDBLOCK || code == WSAEINPROGRESS; }
inline bool was_interrupted(int code) { return code == WSAEINTR; }
inline void close(Handle handle) { closesocket(handle); }
inline void never_wait(Handle handle) {
  u_long on = 1;
  ioctlsocket(handle, FIONBIO, &on);
}
inline int poll(pollfd& one, int milliseconds) { return WSAPoll(&one, 1, milliseconds); }
constexpr int send_flags = 0;
#else
using Handle = int;
constexpr Handle none = -1;

inline void start() {}
inline int error() { return errno; }
inline bool would_wait(int code) {
  return code == EAGAIN || code == EINPROGRESS || code == EWOULDBLOCK;
}
inline bool was_interrupted(int code) { return code == EINTR; }
inline void close(Handle handle) { ::close(handle); }
inline void never_wait(Handle handle) {
  ::fcntl(handle, F_SETFL, ::fcntl(handle, F_GETFL, 0) | O_NONBLOCK);
  ::fcntl(handle, F_SETFD, FD_CLOEXEC);
#ifdef SO_NOSIGPIPE
  int on = 1;
  ::setsockopt(handle, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof on);
#endif
}
inline int poll(pollfd& one, int milliseconds) { return ::poll(&one, 1, milliseconds); }
#ifdef MSG_NOSIGNAL
constexpr int send_flags = MSG_NOSIGNAL;
#else
constexpr int send_flags = 0;
#endif
#endif

inline std::string words(int code) {
#ifdef _WIN32
  return "socket error " + std::to_string(code);
#else
  return std::strerror(code);
#endif
}

}  // namespace sockets

/// See the file. Tries each address that a name has, one after the other. Looking up a name (not a
/// number such as 127.0.0.1) may wait for the system's resolver.
class TcpStream final : public ByteStream {
 public:
  explicit TcpStream(const Address& address) : host_(address.host), port_(address.port) {}
  ~TcpStream() override {
    close();
    if (found_ != nullptr) ::freeaddrinfo(found_);
  }
  TcpStream(const TcpStream&) = delete;
  TcpStream& operator=(const TcpStream&) = delete;

  Progress open() override {
    if (found_ == nullptr && !look_up()) return Progress::failed;
    while (next_ != nullptr || handle_ != sockets::none) {
      if (handle_ == sockets::none && !dial_next()) continue;
      const Progress progress = connected();
      if (progress != Progress::failed) return progress;
      close();
    }
    return Progress::failed;
  }

  Progress read(std::uint8_t* into, std::size_t most, std::size_t& count) override {
    count = 0;
    const auto got = ::recv(handle_, reinterpret_cast<char*>(into), narrow(most), 0);
    if (got == 0) {
      why_ = "the other side closed the connection";
      return Progress::failed;
    }
    return moved(got, count);
  }

  Progress write(const std::uint8_t* from, std::size_t size, std::size_t& count) override {
    count = 0;
    const auto* bytes = reinterpret_cast<const char*>(from);
    return moved(::send(handle_, bytes, narrow(size), sockets::send_flags), count);
  }

  void wait(bool to_write, int milliseconds) override {
    if (handle_ == sockets::none) return;
    pollfd one{};
    one.fd = handle_;
    one.events = static_cast<short>(to_write ? POLLIN | POLLOUT : POLLIN);
    sockets::poll(one, milliseconds);
  }

  std::string why() const override { return why_; }

 private:
#ifdef _WIN32
  using Size = int;
#else
  using Size = std::size_t;
#endif

  static Size narrow(std::size_t size) {
    constexpr std::size_t most = 1u << 30;
    return static_cast<Size>(size < most ? size : most);
  }

  bool look_up() {
    sockets::start();
    addrinfo wanted{};
    wanted.ai_socktype = SOCK_STREAM;
    const int code = ::getaddrinfo(host_.c_str(), port_.c_str(), &wanted, &found_);
    next_ = found_;
    if (code != 0) why_ = "no address is known for host '" + host_ + "'";
    return code == 0;
  }

  /// Begins to connect to the next address; false if that failed at once.
  bool dial_next() {
    const addrinfo& to = *std::exchange(next_, next_->ai_next);
    handle_ = ::socket(to.ai_family, to.ai_socktype, to.ai_protocol);
    if (handle_ == sockets::none) {
      why_ = sockets::words(sockets::error());
      return false;
    }
    sockets::never_wait(handle_);
    // A Step is one small message that is waited for: it must not be kept back for a second one.
    int on = 1;
    ::setsockopt(handle_, IPPROTO_TCP, TCP_NODELAY, reinterpret_cast<const char*>(&on), sizeof on);
    const int code = ::connect(handle_, to.ai_addr, static_cast<socklen_t>(to.ai_addrlen));
    if (code == 0 || sockets::would_wait(sockets::error())) return true;
    why_ = sockets::words(sockets::error());
    close();
    return false;
  }

  Progress connected() {
    pollfd one{};
    one.fd = handle_;
    one.events = POLLOUT;
    if (sockets::poll(one, 0) <= 0) return Progress::pending;
    int code = 0;
    socklen_t size = sizeof code;
    ::getsockopt(handle_, SOL_SOCKET, SO_ERROR, reinterpret_cast<char*>(&code), &size);
    if (code == 0) return Progress::done;
    why_ = sockets::words(code);
    return Progress::failed;
  }

  template <typename Count>
  Progress moved(Count result, std::size_t& count) {
    if (result >= 0) {
      count = static_cast<std::size_t>(result);
      return Progress::done;
    }
    const int code = sockets::error();
    if (sockets::would_wait(code) || sockets::was_interrupted(code)) return Progress::pending;
    why_ = sockets::words(code);
    return Progress::failed;
  }

  void close() {
    if (handle_ != sockets::none) sockets::close(std::exchange(handle_, sockets::none));
  }

  std::string host_;
  std::string port_;
  std::string why_ = "no address answers";
  addrinfo* found_ = nullptr;
  addrinfo* next_ = nullptr;
  sockets::Handle handle_ = sockets::none;
};

}  // namespace entrain
