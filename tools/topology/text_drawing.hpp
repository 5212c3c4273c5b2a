// A topology drawn with characters, for a terminal.
#pragma once

#include <string>

#include "plan/machine/machine.hpp"
#include "tools/topology/picture.hpp"

namespace foretoken::topology {

/// The fabric, one kind of node and the kinds of link. Nodes that are cabled alike, and parts of a node beyond sixteen
/// GPUs, stand once with their number.
/// @param machine  of the picture, for names
std::string text_drawing(const Picture& picture, const plan::Machine& machine);

}  // namespace foretoken::topology
