// Where a trainer is: HOST:PORT, ws://HOST:PORT or wss://HOST:PORT, taken apart.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <string>
#include <string_view>

namespace entrain {

/// A trainer's address. `host` is empty if the text is none.
struct Address {
  std::string host;
  std::string port;
  std::string prefix;  ///< path before /simulate and /inquire, as behind a proxy; usually empty
  bool is_secure = false;
  bool is_usual_port = false;  ///< that of the scheme, because the text names none

  /// As the Host header has it.
  std::string authority() const {
    const bool is_ipv6 = host.find(':') != std::string::npos;
    return (is_ipv6 ? "[" + host + "]" : host) + ":" + port;
  }
};

inline Address parse_address(std::string_view text) {
  Address address;
  for (const std::string_view scheme : {"ws://", "wss://"}) {
    if (text.substr(0, scheme.size()) != scheme) continue;
    address.is_secure = scheme.size() == 6;
    address.port = address.is_secure ? "443" : "80";
    text.remove_prefix(scheme.size());
  }
  if (const std::size_t slash = text.find('/'); slash != std::string_view::npos) {
    address.prefix = std::string(text.substr(slash));
    text = text.substr(0, slash);
    for (const std::string_view end : {"/", "/simulate"}) {
      std::string& prefix = address.prefix;
      if (prefix.size() < end.size() || prefix.substr(prefix.size() - end.size()) != end) continue;
      prefix.resize(prefix.size() - end.size());
    }
  }
  const bool is_ipv6 = !text.empty() && text[0] == '[';
  const std::size_t close = is_ipv6 ? text.find(']') : 0;
  if (close == std::string_view::npos) return {};
  const std::size_t colon = text.find(':', close);
  address.is_usual_port = colon == std::string_view::npos;
  if (!address.is_usual_port) address.port = std::string(text.substr(colon + 1));
  const std::string_view host = text.substr(0, colon);
  address.host = std::string(is_ipv6 ? host.substr(1, close - 1) : host);
  const bool is_number = address.port.find_first_not_of("0123456789") == std::string::npos;
  const bool is_clean = text.find_first_of(" \r\n\t") == std::string_view::npos &&
                        address.prefix.find_first_of(" \r\n\t") == std::string::npos;
  if (address.port.empty() || address.port.size() > 5 || !is_number || !is_clean) return {};
  const unsigned long port = std::strtoul(address.port.c_str(), nullptr, 10);
  if (port == 0 || port > 65535) return {};
  return address;
}

}  // namespace entrain
