// How much of what they could carry the links did carry in the counted steps.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "core/trace.hpp"
#include "core/units.hpp"

namespace foretoken::explain {

/// utilisation = bytes / (capacity x time), where capacity is what the link carries of payload while no fault degrades
/// it.
struct LinkUse {
  std::string name;
  std::string link_class;
  BytesPerSecond capacity;
  double bytes = 0;        // in the counted steps
  double utilisation = 0;  // mean over them
  double peak = 0;         // highest mean over an interval between two samples
};

/// All links of one class together.
struct LinkClassUse {
  std::string link_class;
  std::int64_t links = 0;
  double bytes = 0;
  double utilisation = 0;  // bytes / (sum of capacities x time)
  LinkUse busiest;
};

/// The counted steps of all ranks together: from the last step_end of the warm-up to the last of all.
struct LinksUse {
  SimTime begin;
  SimTime end;
  SimTime interval;                   // mean time between two samples
  std::vector<LinkClassUse> classes;  // by name
  std::vector<LinkUse> links;         // highest utilisation first, then by name
};

/// Precondition: trace.links, and steps of it that end.
/// Example: a link of 1 GB/s that carried 2 MB of a step's 5 ms: 40 %, and a peak of 100 % if a sample was taken when
/// it began and another when it was done.
LinksUse use_of_links(const Trace& trace);

/// Mean utilisation of the links of a class from each sample to the next, over the whole run.
struct LinkCounter {
  std::string link_class;
  std::vector<double> utilisation;  // [sample]; of the last: 0
};
std::vector<LinkCounter> link_counters(const TraceLinks& links);

}  // namespace foretoken::explain
