// Programs of random ops on random streams, with collectives, messages and exchanges in one order on all ranks.
#pragma once

#include <cstdint>

#include "tests/sim/tiny_program.hpp"

namespace foretoken::test {

struct RandomProgramOptions {
  bool exchanges = true;             // else no two communications ever share a link
  double even_ranks_compute_us = 1;  // that a unit of compute takes on ranks 0, 2, 4, ...; 1 on the others
};

/// Of 2, 4 or 6 ranks. The same seed gives the same ops, whatever they take.
TinyProgram random_program(unsigned seed, const RandomProgramOptions& options);

}  // namespace foretoken::test
