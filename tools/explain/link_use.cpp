#include "tools/explain/link_use.hpp"

#include <algorithm>
#include <map>

#include "core/error.hpp"

namespace foretoken::explain {
namespace {

SimTime last_step_end(const Trace& trace, std::int64_t step) {
  SimTime last(0);
  for (std::size_t e = 0; e < trace.size(); ++e)
    if (trace.step[e] == step && trace.ended[e] > last && trace.op_of(e).kind == "step_end") last = trace.ended[e];
  return last;
}

std::size_t sample_at(const TraceLinks& links, SimTime time) {
  const auto found = std::lower_bound(links.sampled.begin(), links.sampled.end(), time);
  FORETOKEN_CHECK(found != links.sampled.end() && *found == time,
                  "links are sampled where the counted steps begin and end");
  return static_cast<std::size_t>(found - links.sampled.begin());
}

double seconds_between(const TraceLinks& links, std::size_t from, std::size_t to) {
  return to_seconds(links.sampled[to] - links.sampled[from]).value();
}

}  // namespace

LinksUse use_of_links(const Trace& trace) {
  FORETOKEN_CHECK(trace.links.has_value(), "the links of this trace were not sampled");
  const TraceLinks& links = *trace.links;
  LinksUse use;
  use.begin = last_step_end(trace, trace.warmup_steps - 1);
  use.end = last_step_end(trace, trace.warmup_steps + trace.steps - 1);
  FORETOKEN_CHECK(use.begin < use.end, "the counted steps take no time");
  const std::size_t first = sample_at(links, use.begin);
  const std::size_t last = sample_at(links, use.end);
  use.interval = (use.end - use.begin) / static_cast<std::int64_t>(last - first);

  std::map<std::string, LinkClassUse> classes;
  std::map<std::string, double> could_carry;
  for (std::size_t l = 0; l < links.links.size(); ++l) {
    const TraceLinks::Link& link = links.links[l];
    LinkUse one{link.name, link.link_class, link.capacity, links.bytes(last, l) - links.bytes(first, l)};
    const double could = link.capacity.value() * seconds_between(links, first, last);
    one.utilisation = one.bytes / could;
    for (std::size_t s = first; s < last; ++s) {
      const double carried = links.bytes(s + 1, l) - links.bytes(s, l);
      one.peak = std::max(one.peak, carried / (link.capacity.value() * seconds_between(links, s, s + 1)));
    }
    LinkClassUse& all = classes[link.link_class];
    all.link_class = link.link_class;
    ++all.links;
    all.bytes += one.bytes;
    could_carry[link.link_class] += could;
    if (all.links == 1 || one.utilisation > all.busiest.utilisation) all.busiest = one;
    use.links.push_back(std::move(one));
  }
  for (auto& [name, all] : classes) {
    all.utilisation = all.bytes / could_carry[name];
    use.classes.push_back(std::move(all));
  }
  std::sort(use.links.begin(), use.links.end(), [](const LinkUse& a, const LinkUse& b) {
    return std::pair(-a.utilisation, a.name) < std::pair(-b.utilisation, b.name);
  });
  return use;
}

std::vector<LinkCounter> link_counters(const TraceLinks& links) {
  std::map<std::string, std::vector<std::size_t>> classes;
  for (std::size_t l = 0; l < links.links.size(); ++l) classes[links.links[l].link_class].push_back(l);
  std::vector<LinkCounter> counters;
  for (const auto& [name, members] : classes) {
    LinkCounter counter{name, std::vector<double>(links.sampled.size(), 0.0)};
    double capacity = 0;
    for (const std::size_t l : members) capacity += links.links[l].capacity.value();
    for (std::size_t s = 0; s + 1 < links.sampled.size(); ++s) {
      double carried = 0;
      for (const std::size_t l : members) carried += links.bytes(s + 1, l) - links.bytes(s, l);
      counter.utilisation[s] = carried / (capacity * seconds_between(links, s, s + 1));
    }
    counters.push_back(std::move(counter));
  }
  return counters;
}

}  // namespace foretoken::explain
