// TLS by OpenSSL, as a ByteStream. Link with -lssl -lcrypto. Nothing else here needs it.
//
//     options.address = "wss://trainer.example:50052";
//     options.open_stream = entrain::openssl_streams({"ca.pem"});
#pragma once

#include <memory>
#include <string>
#include <utility>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "entrain/byte_stream.hpp"
#include "entrain/options.hpp"
#include "entrain/socket.hpp"

namespace entrain {

/// Files in PEM format, read for each dial, so that they may be renewed.
struct TlsFiles {
  std::string ca = {};           ///< authority behind the trainer's certificate; empty: the system's
  std::string certificate = {};  ///< this simulator's own, if the trainer wants one
  std::string key = {};
};

/// TLS 1.2 or newer over a TcpStream. The trainer's certificate must be valid for the host's name.
class OpenSslStream final : public ByteStream {
 public:
  OpenSslStream(const Address& address, const TlsFiles& files) : tcp_(address) {
    ERR_clear_error();
    context_.reset(SSL_CTX_new(TLS_client_method()));
    if (context_ == nullptr || !read(files)) {
      why_ = "TLS: " + latest_error();
      return;
    }
    SSL_CTX_set_min_proto_version(context_.get(), TLS1_2_VERSION);
    SSL_CTX_set_verify(context_.get(), SSL_VERIFY_PEER, nullptr);
    ssl_.reset(SSL_new(context_.get()));
    if (ssl_ == nullptr || !expect(address.host)) {
      ssl_.reset();
      why_ = "TLS: " + latest_error();
      return;
    }
    // A read or write that is called again may come from another buffer, with more bytes.
    SSL_set_mode(ssl_.get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    BIO* bio = BIO_new(method().get());
    BIO_set_data(bio, &tcp_);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl_.get(), bio, bio);
  }

  Progress open() override {
    if (ssl_ == nullptr) return Progress::failed;
    if (!is_connected_) {
      const Progress progress = tcp_.open();
      if (progress == Progress::failed) why_ = tcp_.why();
      if (progress != Progress::done) return progress;
      is_connected_ = true;
    }
    ERR_clear_error();
    return judged(SSL_connect(ssl_.get()));
  }

  Progress read(std::uint8_t* into, std::size_t most, std::size_t& count) override {
    count = 0;
    ERR_clear_error();
    return judged(SSL_read_ex(ssl_.get(), into, most, &count));
  }

  Progress write(const std::uint8_t* from, std::size_t size, std::size_t& count) override {
    count = 0;
    ERR_clear_error();
    return judged(SSL_write_ex(ssl_.get(), from, size, &count));
  }

  void wait(bool to_write, int milliseconds) override {
    if (ssl_ != nullptr && SSL_pending(ssl_.get()) > 0) return;
    // While hands are shaken, OpenSSL knows whose turn it is.
    const bool is_shaking = is_connected_ && ssl_ != nullptr && !SSL_is_init_finished(ssl_.get());
    tcp_.wait(is_shaking ? SSL_want_write(ssl_.get()) : to_write, milliseconds);
  }

  std::string why() const override { return why_; }

 private:
  template <auto free>
  struct Free {
    template <typename Thing>
    void operator()(Thing* thing) const {
      free(thing);
    }
  };
  using Method = std::unique_ptr<BIO_METHOD, Free<BIO_meth_free>>;

  bool read(const TlsFiles& files) {
    SSL_CTX* context = context_.get();
    const int has_authority =
        files.ca.empty() ? SSL_CTX_set_default_verify_paths(context)
                         : SSL_CTX_load_verify_locations(context, files.ca.c_str(), nullptr);
    if (has_authority != 1) return false;
    if (files.certificate.empty()) return true;
    return SSL_CTX_use_certificate_chain_file(context, files.certificate.c_str()) == 1 &&
           SSL_CTX_use_PrivateKey_file(context, files.key.c_str(), SSL_FILETYPE_PEM) == 1 &&
           SSL_CTX_check_private_key(context) == 1;
  }

  /// Whom the certificate must be for: a name, or a number such as 10.0.0.7.
  bool expect(const std::string& host) {
    X509_VERIFY_PARAM* wanted = SSL_get0_param(ssl_.get());
    if (X509_VERIFY_PARAM_set1_ip_asc(wanted, host.c_str()) == 1) return true;
    ERR_clear_error();
    return SSL_set1_host(ssl_.get(), host.c_str()) == 1 &&
           SSL_set_tlsext_host_name(ssl_.get(), host.c_str()) == 1;
  }

  Progress judged(int result) {
    if (result == 1) return Progress::done;
    const int error = SSL_get_error(ssl_.get(), result);
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return Progress::pending;
    const long verified = SSL_get_verify_result(ssl_.get());
    if (verified != X509_V_OK) {
      why_ = std::string("TLS: the trainer's certificate was refused: ") +
             X509_verify_cert_error_string(verified);
    } else {
      why_ = error == SSL_ERROR_ZERO_RETURN ? "the other side closed the connection"
             : error == SSL_ERROR_SSL       ? "TLS: " + latest_error()
                                            : tcp_.why();
    }
    return Progress::failed;
  }

  static std::string latest_error() {
    char words[256] = "";
    ERR_error_string_n(ERR_get_error(), words, sizeof words);
    return words;
  }

  /// OpenSSL's view of a TcpStream: its own socket calls would raise SIGPIPE.
  static const Method& method() {
    static const Method made = [] {
      Method method(BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "entrain"));
      BIO_meth_set_read_ex(method.get(), [](BIO* bio, char* to, std::size_t most,
                                            std::size_t* count) {
        auto* bytes = reinterpret_cast<std::uint8_t*>(to);
        const Progress progress = tcp_of(bio).read(bytes, most, *count);
        BIO_clear_retry_flags(bio);
        if (progress == Progress::pending) BIO_set_retry_read(bio);
        return progress == Progress::done ? 1 : 0;
      });
      BIO_meth_set_write_ex(method.get(), [](BIO* bio, const char* from, std::size_t size,
                                             std::size_t* count) {
        const auto* bytes = reinterpret_cast<const std::uint8_t*>(from);
        const Progress progress = tcp_of(bio).write(bytes, size, *count);
        BIO_clear_retry_flags(bio);
        if (progress == Progress::pending) BIO_set_retry_write(bio);
        return progress == Progress::done ? 1 : 0;
      });
      BIO_meth_set_ctrl(method.get(), [](BIO*, int command, long, void*) {
        return command == BIO_CTRL_FLUSH ? 1L : 0L;
      });
      return method;
    }();
    return made;
  }

  static TcpStream& tcp_of(BIO* bio) { return *static_cast<TcpStream*>(BIO_get_data(bio)); }

  TcpStream tcp_;
  std::unique_ptr<SSL_CTX, Free<SSL_CTX_free>> context_;
  std::unique_ptr<SSL, Free<SSL_free>> ssl_;
  bool is_connected_ = false;
  std::string why_;
};

/// For `Options::open_stream`: TLS for wss:// addresses, plain TCP for others.
inline OpenStream openssl_streams(TlsFiles files = {}) {
  return [files = std::move(files)](const Address& address) -> std::unique_ptr<ByteStream> {
    if (!address.is_secure) return open_tcp(address);
    return std::make_unique<OpenSslStream>(address, files);
  };
}

}  // namespace entrain
