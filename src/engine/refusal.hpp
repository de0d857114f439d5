#pragma once

#include <redlatch/protocol/reply.hpp>

namespace redlatch::detail {

/// Whether the reply is an error of an unknown kind, which may be a refusal.
inline bool is_odd(const protocol::Reply& reply) noexcept {
  return reply.is_error() && !protocol::refuses_command(reply.text) &&
         protocol::may_refuse_command(reply.text);
}

/// A refusal whose text the callers recognise, where the text of the server is not known.
inline protocol::Reply refused_for_certain(protocol::Reply refusal) {
  if (is_odd(refusal)) refusal.text = protocol::as_refusal(refusal.text);
  return refusal;
}

}  // namespace redlatch::detail
