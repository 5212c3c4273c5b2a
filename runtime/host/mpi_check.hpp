// Every MPI call is checked.
#pragma once

namespace foretoken::runtime::host {

/// @throws Error{rank_failed} naming the call and MPI's own words if `code` is not MPI_SUCCESS
void check_mpi(int code, const char* call);

}  // namespace foretoken::runtime::host
