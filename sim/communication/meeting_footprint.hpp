// What a collective or a transfer between two ranks puts on the machine, from the program's ops.
#pragma once

#include "plan/program/program.hpp"
#include "sim/communication/meetings.hpp"
#include "sim/communication/transport.hpp"

namespace foretoken::sim {

/// @param meeting of a collective or a send: no exchange
/// @throws Unreachable as the transport does
Footprint footprint_of(const plan::Program& program, const Meeting& meeting, const Transport& transport);

}  // namespace foretoken::sim
