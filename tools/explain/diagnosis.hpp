// What most likely made two results differ: the parts of a waterfall, gathered by what would cause them.
//
// A waterfall says where time went; this says why, as far as two traces show it. The findings take the parts of the
// waterfall apart and put them together again, so that they too add up to the difference exactly.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tools/explain/waterfall.hpp"

namespace foretoken::explain {

enum class Culprit : std::uint8_t {
  clock,          // every part is longer or shorter by one factor: a clock that runs at another rate
  straggler,      // one rank computes slower than the others do, in everything
  hot_expert,     // one rank computes slower in its experts alone
  overlap,        // communication that computing hid is exposed
  gaps,           // idle between ops: launches, bubbles
  link,           // communication takes longer in proportion to its length: bandwidth
  latency,        // communication takes longer by the same time, however long it is
  communication,  // it takes another time, and the traces cannot be joined to say how
  kernels,        // compute of one kind of op
  waiting,        // for peers, none of which stands out
  other           // instrumentation, edges
};
constexpr std::array<std::pair<Culprit, std::string_view>, 11> kCulpritNames{{{Culprit::clock, "clock"},
                                                                              {Culprit::straggler, "straggler"},
                                                                              {Culprit::hot_expert, "hot_expert"},
                                                                              {Culprit::overlap, "overlap"},
                                                                              {Culprit::gaps, "gaps"},
                                                                              {Culprit::link, "link"},
                                                                              {Culprit::latency, "latency"},
                                                                              {Culprit::communication, "communication"},
                                                                              {Culprit::kernels, "kernels"},
                                                                              {Culprit::waiting, "waiting"},
                                                                              {Culprit::other, "other"}}};
constexpr std::string_view name_of(Culprit culprit) { return kCulpritNames[static_cast<std::size_t>(culprit)].second; }

struct Finding {
  Culprit culprit = Culprit::other;
  std::string of{};    // "gemm", "rank 3", "rank 3 of B"; may be empty
  SimTime explains{};  // of A - B, over the waterfall's steps
  double factor = 0;   // A takes so many times as long as B; 0: not about a factor
  Seconds each{};      // latency: more per op in A than in B; communication: if it is latency, and not the factor
};

/// @param tpot  of explain_tpot(a, b, GroupBy::kind)
/// @return largest |explains| first; they add up to tpot.difference() exactly
///
/// Where both traces have all ranks and say who waits for whom, time is taken from their critical paths, so that what a
/// rank waits for is put down to what its peers did; else from the waterfall, with waits as they are. Ranks are
/// compared with the median rank (straggler: 5 % beyond it; of two ranks, the one that changed less); ops are joined by
/// rank, step and place in the program where both traces are of one program. Limits: two causes in the same kind of op
/// on the same rank are one finding; beside a hot expert, so are links of dispatch and combine; a straggler is looked
/// for in A, and in B if A has none; a factor and a latency cannot be told apart where all ops take the same time:
/// communication, with both.
std::vector<Finding> diagnose(const Trace& a, const Trace& b, const Waterfall& tpot);

}  // namespace foretoken::explain
