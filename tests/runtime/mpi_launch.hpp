// Starts this test program under mpirun, so that a disabled test of it is what each rank does.
#pragma once

#include <map>
#include <string>

namespace foretoken::test {

struct MpiLaunch {
  int exit_code = -1;
  double seconds = 0;
  std::string said;     // both outputs of all ranks and of mpirun
  std::string written;  // what they wrote to the file that FORETOKEN_TEST_OUT names
};

/// False where there is no mpirun, and in sanitizer builds: the MPI library keeps what it allocates until the process
/// ends, and a leak checker takes that for a failure of the rank.
bool have_mpirun();

/// Runs one test of this program as that many ranks.
/// @param test         its full name, for example "MpiRank.DISABLED_Runs"
/// @param variables    what it finds in its environment
MpiLaunch launch_mpi(int ranks, const std::string& test, const std::map<std::string, std::string>& variables);

/// A variable of the environment, "" if it is not set.
std::string environment(const std::string& name);

}  // namespace foretoken::test
