#include "tools/explain/link_use.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <string>

#include "tests/sim/tiny_program.hpp"
#include "tools/explain/stragglers.hpp"

namespace foretoken::explain {
namespace {

using foretoken::test::round_machine;
using foretoken::test::TinyProgram;
using plan::OpKind;

const LinkUse& link_named(const LinksUse& use, const std::string& name) {
  for (const LinkUse& link : use.links)
    if (link.name == name) return link;
  throw std::out_of_range("no link " + name);
}

// Rank 0 computes 5 us and sends 4,000 bytes to rank 1: 1 us of latency, 4 us at 1 GB/s. Both steps of 10 us count, so
// each of its two links carried 8 kB of the 20 kB that it could have: 40 %, and all of it within 4 us of each step.
Trace one_way(std::size_t samples) {
  TinyProgram program(2);
  const CommunicationId message = program.communication(OpKind::send);
  const std::size_t source = program.role({0});
  program.compute(source, "produce", 5);
  program.send(source, "send", message, 1, 4000);
  program.step_end(source);
  const std::size_t sink = program.role({1});
  program.recv(sink, "recv", message, -1, 4000);
  program.step_end(sink);
  program.link_samples = samples;
  return program.run(round_machine(1, 3), 1, 2);  // the third GPU has nothing to do
}

TEST(LinkUse, IsTheShareOfWhatALinkCouldHaveCarried) {
  const Trace trace = one_way(64);
  const LinksUse use = use_of_links(trace);
  EXPECT_EQ(use.end - use.begin, to_sim_time(Seconds(20e-6)));
  const LinkUse& up = link_named(use, "node0.gpu0 > node0.nvswitch");
  EXPECT_EQ(up.link_class, "nvlink");
  EXPECT_EQ(up.capacity, BytesPerSecond(1e9));
  EXPECT_NEAR(up.bytes, 8000, 1e-6);
  EXPECT_NEAR(up.utilisation, 0.4, 1e-9);
  EXPECT_NEAR(up.peak, 1.0, 1e-9);  // samples at its begin and its end
  EXPECT_NEAR(link_named(use, "node0.nvswitch > node0.gpu1").utilisation, 0.4, 1e-9);
  EXPECT_EQ(link_named(use, "node0.gpu1 > node0.nvswitch").bytes, 0);

  // Of six NVLinks two carry 40 %. NIC and PCIe link of a GPU are in series: one each way.
  ASSERT_EQ(use.classes.size(), 2U);
  EXPECT_EQ(use.classes[0].link_class, "nic");
  EXPECT_EQ(use.classes[0].links, 6);
  EXPECT_EQ(use.classes[0].bytes, 0);
  EXPECT_EQ(use.classes[0].busiest.name, "node0.gpu0 > fabric");
  EXPECT_EQ(use.classes[1].link_class, "nvlink");
  EXPECT_EQ(use.classes[1].links, 6);
  EXPECT_NEAR(use.classes[1].utilisation, 0.8 / 6, 1e-9);
  EXPECT_EQ(use.classes[1].busiest.bytes, up.bytes);
}

// Few samples: sums stay, peaks are means over longer intervals.
TEST(LinkUse, FewSamplesKeepTheSums) {
  const LinksUse use = use_of_links(one_way(4));
  const LinkUse& up = link_named(use, "node0.gpu0 > node0.nvswitch");
  EXPECT_NEAR(up.bytes, 8000, 1e-6);
  EXPECT_GE(up.peak, up.utilisation - 1e-12);
}

TEST(LinkUse, IsNotThereUnlessAsked) { EXPECT_FALSE(one_way(0).links.has_value()); }

// Looking at links changes nothing of what happens.
TEST(LinkUse, SamplingChangesNoTime) { EXPECT_EQ(one_way(64).ended, one_way(0).ended); }

// Two rings over two nodes of two GPUs gather 4,000 bytes: every member passes on 3,000, half of them to the other GPU
// of its node, half over its NIC. In a node of two the ways up to the switch and down from it are links in series, one
// resource; between NICs they are two.
TEST(LinkUse, CountsACollectiveOnAllItsLinks) {
  TinyProgram program(4);
  const CommunicationId gather = program.communication(OpKind::all_gather, program.group(4));
  const std::size_t role = program.role({0, 1, 2, 3});
  program.collective(role, "gather", gather, 4000);
  program.step_end(role);
  program.link_samples = 16;
  const Trace trace = program.run(round_machine(2, 2), 1, 1);
  const LinksUse use = use_of_links(trace);
  ASSERT_EQ(use.classes.size(), 2U);
  EXPECT_NEAR(use.classes[0].bytes, 4 * 1500 * 2, 1e-6);  // nic
  EXPECT_NEAR(use.classes[1].bytes, 4 * 1500, 1e-6);      // nvlink
  for (const LinkClassUse& all : use.classes) EXPECT_NEAR(all.busiest.bytes, 1500, 1e-6) << all.link_class;
}

TEST(LinkUse, CountersAreMeansBetweenSamples) {
  const Trace trace = one_way(64);
  const auto counters = link_counters(*trace.links);
  ASSERT_EQ(counters.size(), 2U);
  EXPECT_EQ(counters[1].link_class, "nvlink");
  // Two of six links at full rate.
  EXPECT_NEAR(*std::max_element(counters[1].utilisation.begin(), counters[1].utilisation.end()), 2.0 / 6, 1e-9);
  EXPECT_EQ(counters[1].utilisation.back(), 0);
}

// Rank 1 comes 2 us after rank 0 in each of 2 counted steps: 4 us in all.
TEST(Stragglers, NamesWhoWasLateAndByHowMuch) {
  TinyProgram program(2);
  const CommunicationId gather = program.communication(OpKind::all_gather, program.group(2));
  for (const std::int32_t rank : {0, 1}) {
    const std::size_t role = program.role({rank});
    program.compute(role, rank == 0 ? "short" : "long", rank == 0 ? 3 : 5);
    program.collective(role, "gather", gather, 1000);
    program.step_end(role);
  }
  const auto waits = straggler_waits(program.run(round_machine(1, 2), 1, 2));
  ASSERT_EQ(waits.size(), 1U);
  EXPECT_EQ(waits[0].kind, "all_gather");
  EXPECT_EQ(waits[0].meetings, 2);
  EXPECT_EQ(waits[0].sides, 2);
  EXPECT_EQ(waits[0].waited, to_sim_time(Seconds(4e-6)));
  EXPECT_EQ(waits[0].longest, to_sim_time(Seconds(2e-6)));
  EXPECT_DOUBLE_EQ(waits[0].mean().value(), 2e-6);
  EXPECT_EQ(waits[0].late_rank, 1);
  EXPECT_EQ(waits[0].made_wait, waits[0].waited);
}

// A recv that is posted before its send: both are one meeting, of kind send, and the sender is late.
TEST(Stragglers, ASendAndItsRecvAreOneMeeting) {
  const auto waits = straggler_waits(one_way(0));
  ASSERT_EQ(waits.size(), 1U);
  EXPECT_EQ(waits[0].kind, "send");
  EXPECT_EQ(waits[0].meetings, 2);
  EXPECT_EQ(waits[0].waited, to_sim_time(Seconds(10e-6)));  // 5 us in each step
  EXPECT_EQ(waits[0].late_rank, 0);
}

// Three ranks come after 1, 2 and 9 us: two wait, for 8 and 7 us.
TEST(Stragglers, AllButTheLastWait) {
  TinyProgram program(3);
  const CommunicationId gather = program.communication(OpKind::all_gather, program.group(3));
  for (const std::int32_t rank : {0, 1, 2}) {
    const std::size_t role = program.role({rank});
    program.compute(role, "work" + std::to_string(rank), std::vector<double>{1, 2, 9}[static_cast<std::size_t>(rank)]);
    program.collective(role, "gather", gather, 1000);
    program.step_end(role);
  }
  const auto waits = straggler_waits(program.run(round_machine(1, 3), 1, 1));
  ASSERT_EQ(waits.size(), 1U);
  EXPECT_EQ(waits[0].sides, 2);
  EXPECT_EQ(waits[0].waited, to_sim_time(Seconds(15e-6)));
  EXPECT_EQ(waits[0].longest, to_sim_time(Seconds(8e-6)));
  EXPECT_EQ(waits[0].late_rank, 2);
}

// Nobody meets anybody: an all_gather among one.
TEST(Stragglers, OneRankWaitsForNobody) {
  TinyProgram program(1);
  const CommunicationId gather = program.communication(OpKind::all_gather, program.group(1));
  const std::size_t role = program.role({0});
  program.compute(role, "work", 1);
  program.collective(role, "gather", gather, 1000);
  program.step_end(role);
  EXPECT_THAT(straggler_waits(program.run(round_machine(1, 1), 1, 1)), ::testing::IsEmpty());
}

}  // namespace
}  // namespace foretoken::explain
