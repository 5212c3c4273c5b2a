#include "runtime/call_on_mpi.hpp"

#include <exception>

#include "core/error.hpp"
#include "runtime/host/mpi_messages.hpp"
#include "runtime/host/mpi_watch.hpp"
#include "runtime/rank_run.hpp"

namespace foretoken::runtime {

void call_on_mpi(MpiProcess& mpi, const RankBody& body, const std::function<std::string(std::uint64_t)>& describe) {
  mpi.watch().set_describe([&describe](RankId /*rank*/, std::uint64_t progress) {
    return progress == kNoProgress ? std::string("before it began") : describe(progress);
  });
  try {
    host::MpiMessages messages(mpi.ranks());
    body(RankId(static_cast<std::int32_t>(mpi.rank())), messages.communicator(), mpi.watch().progress());
  } catch (const std::exception& error) {
    host::fail_rank(mpi, error.what());
  }
  mpi.watch().set_describe({});
}

}  // namespace foretoken::runtime
