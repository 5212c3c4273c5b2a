// A topology drawn as SVG: the fabric above, one node with what is in it below, and the kinds of cable with their
// rates.
#pragma once

#include <string>

#include "plan/machine/machine.hpp"
#include "tools/topology/picture.hpp"

namespace foretoken::topology {

/// The whole file. What repeats is drawn a few times, and then as a box with its number: nodes and pods that are cabled
/// alike, spines, GPUs of a node beyond sixteen. So its size does not grow with the cluster.
/// @param machine  of the picture, for names
std::string svg_drawing(const Picture& picture, const plan::Machine& machine);

}  // namespace foretoken::topology
