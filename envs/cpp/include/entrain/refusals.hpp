// Which ends of a connection mean that dialling again would bring the same answer.
#pragma once

#include "entrain/websocket.hpp"

namespace entrain {

/// gRPC's numbers, which the trainer uses on every transport.
namespace refusal_code {
constexpr unsigned cancelled = 1;
constexpr unsigned unknown = 2;
constexpr unsigned deadline_exceeded = 4;
constexpr unsigned resource_exhausted = 8;
constexpr unsigned aborted = 10;
constexpr unsigned internal = 13;
constexpr unsigned unavailable = 14;
}  // namespace refusal_code

/// By proto/README.md, "Refusals".
inline bool may_dial_again(std::uint64_t code) {
  switch (code) {
    case refusal_code::cancelled:
    case refusal_code::unknown:
    case refusal_code::deadline_exceeded:
    case refusal_code::aborted:
    case refusal_code::internal:
    case refusal_code::unavailable:
      return true;
    default:
      return false;
  }
}

/// Whether it says that a limit of the trainer is reached. There may be room later.
inline bool has_no_room(const Ended& ended) {
  return ended.code == close_code::refusal + refusal_code::resource_exhausted ||
         ended.code == close_code::too_many || ended.code == close_code::too_long;
}

/// Whether the other side lives and will not have this simulator as it is.
inline bool is_refusal(const Ended& ended) {
  constexpr int request_timed_out = 408;
  if (ended.kind == Ended::Kind::answered_http) {
    return ended.status < 500 && ended.status != request_timed_out;
  }
  if (ended.kind == Ended::Kind::too_long) return true;
  if (ended.kind != Ended::Kind::closed) return false;
  if (ended.code >= close_code::refusal) return !may_dial_again(ended.code - close_code::refusal);
  // 1002 is none: a frame may have been damaged on the way to the trainer.
  return ended.code == close_code::not_binary || ended.code == close_code::too_many ||
         ended.code == close_code::too_long;
}

/// What to do about an answer of HTTP, to follow its words; empty if those of a trainer say it.
inline const char* remedy_of(int status) {
  switch (status) {
    case -1:   // Upgrade's own words have it
    case 101:
    case 400:
    case 401:
    case 403:
    case 408:
    case 429:
      return "";
    default:
      return status >= 500 ? "" : "; check address and port, and the trainer's option server.websocket";
  }
}

}  // namespace entrain
