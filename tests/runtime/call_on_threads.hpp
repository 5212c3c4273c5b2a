// A function on every rank, with threads of this process as ranks.
#pragma once

#include <cstdint>
#include <functional>

#include "core/ids.hpp"
#include "runtime/communicator.hpp"

namespace foretoken::test {

/// @throws Error{rank_failed} if the body throws at a rank: what the first that did threw
void call_on_threads(std::int64_t ranks, const std::function<void(RankId, runtime::Communicator&)>& body);

}  // namespace foretoken::test
