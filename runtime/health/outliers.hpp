// When something is worse than its peers: the robust rule of a health check.
//
// A cost is what lasts longer where things are worse: seconds, or seconds per byte. Of n costs
//
//   typical    the ceil(n/2)-th smallest
//   deviation  1.4826 x the ceil(n/2)-th smallest distance from it: the standard deviation, if what is healthy is
//   normal outlier    cost > typical x (1 + tolerance) and cost > typical + deviations x deviation
//
// That is median and MAD, but of an even number the better one of the two in the middle: so up to half of the peers may
// be ill, and of two the slower one is measured by the faster.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace foretoken::runtime {

struct OutlierRule {
  double tolerance = 0.25;
  double deviations = 5;
};

struct Peers {
  double typical = 0;
  double deviation = 0;
  double limit = 0;  // a cost above it is an outlier
};

/// @param costs  not empty, > 0
Peers peers_of(std::span<const double> costs, const OutlierRule& rule);

/// Indices, ascending. One alone has no peers.
std::vector<std::size_t> outliers(std::span<const double> costs, const OutlierRule& rule);

/// The rule in words.
std::string text_of(const OutlierRule& rule);

}  // namespace foretoken::runtime
