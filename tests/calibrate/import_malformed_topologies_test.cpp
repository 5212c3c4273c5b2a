// Spoilt logs of NCCL and nvidia-smi about a node: each is refused with a message that names the place, what was found
// and what would be right.
#include <gtest/gtest.h>

#include "tests/calibrate/import_log.hpp"

namespace foretoken::calibrate {
namespace {

TEST(ImportMalformed, NcclTopology) {
  expect_refused({
      {"nccl-topology/hgx8.xml",
       {},
       "</system>",
       "",
       "log:121: is no XML: Start-end tags mismatch; was the file cut? NCCL_TOPO_DUMP_FILE=FILE writes a whole one"},
      {"nccl-topology/hgx8.xml",
       {},
       "<system version=\"1\">",
       "<system version=\"2\">",
       "log:1: version \"2\" of <system>; version 1 is read"},
      {"nccl-topology/hgx8.xml",
       {},
       "<system",
       "<fabric",
       "log: is no log that is known; say which it is with --format: nccl-tests, nccl-tests-json, nvbandwidth, "
       "perftest, perftest-json, deepep, op-table, nccl-topology, nvidia-smi-topo, ibnetdiscover"},
      {"nccl-topology/hgx8.xml",
       {},
       "sm=\"90\"",
       "sm=\"new\"",
       "log:5: sm of <gpu> is \"new\"; write a whole number from 10 to 999"},
      {"nccl-topology/hgx8.xml",
       {},
       "sm=\"90\"",
       "sm=\"80\"",
       "log:18: the GPU's sm is 90 here, but 80 of the first one; topologies have nodes and GPUs that are all the "
       "same"},
      {"nccl-topology/hgx8.xml",
       {},
       "count=\"4\"",
       "count=\"5\"",
       "log:18: the GPU's number of NVLinks is 18 here, but 19 of the first one; topologies have nodes and GPUs that "
       "are all the same"},
      {"nccl-topology/hgx8.xml",
       {},
       "count=\"4\"",
       "count=\"-4\"",
       "log:6: count of <nvlink> is \"-4\"; write a whole number from 1 to 1024"},
      {"nccl-topology/hgx8.xml",
       {},
       "tclass=\"0x068000\"",
       "tclass=\"0x030200\"",
       "log:6: an NVLink from GPU to GPU; topologies have NVLinks to NVSwitches only: write the topology by hand, with "
       "what they add up to"},
      {"nccl-topology/hgx8.xml",
       {},
       "link_speed=\"32.0 GT/s PCIe\" link_width=\"16\">\n        <gpu",
       "link_speed=\"fast\" link_width=\"16\">\n        <gpu",
       "log:4: link_speed is \"fast\"; write for example \"32.0 GT/s PCIe\""},
      {"nccl-topology/hgx8.xml",
       {},
       "link_width=\"16\">\n        <gpu",
       "link_width=\"wide\">\n        <gpu",
       "log:4: link_width of <pci> is \"wide\"; write a whole number from 1 to 64"},
      {"nccl-topology/hgx8.xml",
       {},
       "link_width=\"16\">\n        <gpu",
       "link_width=\"8\">\n        <gpu",
       "log:18: the GPU's PCIe link is \"16 lanes x 32 GT/s x 0.9846 / 8\" here, but \"8 lanes x 32 GT/s x 0.9846 / "
       "8\" of the first one; topologies have nodes and GPUs that are all the same"},
      {"nccl-topology/hgx8.xml",
       {},
       "speed=\"400000\"",
       "speed=\"400 Gb/s\"",
       "log:14: speed of <net> is \"400 Gb/s\"; write a whole number from 0 to 1000000000"},
      {"nccl-topology/hgx8.xml",
       {},
       "speed=\"400000\"",
       "speed=\"200000\"",
       "log:2: 7 NICs for 8 GPUs, at 400 Gb/s; slower ones are left out; topologies have one for each GPU, or for 2, "
       "4, ... of them"},
      {"nccl-topology/hgx8.xml",
       {},
       "<gpu",
       "<gpx",
       "log:10: is no XML: Start-end tags mismatch; was the file cut? NCCL_TOPO_DUMP_FILE=FILE writes a whole one"},
  });
}

TEST(ImportMalformed, NvidiaSmi) {
  expect_refused({
      {"nvidia-smi-topo/hgx8.txt",
       {},
       "NV18",
       "NV17",
       "log:3: GPU1 to GPU0 is NV18, but NV17 the other way; give what `nvidia-smi topo -m` prints, whole and with its "
       "tabs"},
      {"nvidia-smi-topo/hgx8.txt",
       {},
       " X \tNV18",
       "NV18\tNV18",
       "log:2: \"NV18\" in the matrix; X is on its diagonal"},
      {"nvidia-smi-topo/hgx8.txt",
       {},
       "GPU0\t X \tNV18\tNV18",
       "GPU0\t X \tNV18\tNVX",
       "log:2: \"NVX\" in the matrix; NV#, PIX, PXB, PHB, NODE and SYS are known"},
      {"nvidia-smi-topo/hgx8.txt", {}, "GPU1\tNV18\t X", "GPU2\tNV18\t X", "log:3: a row of \"GPU2\"; GPU1 is next"},
      {"nvidia-smi-topo/hgx8.txt",
       {},
       "GPU0\t X "
       "\tNV18\tNV18\tNV18\tNV18\tNV18\tNV18\tNV18\tPIX\tNODE\tNODE\tNODE\tSYS\tSYS\tSYS\tSYS\tNODE\t0-47\t0\t\tN/A",
       "GPU0\t X \tNV18",
       "log:2: 2 cells; the header names 17 devices"},
      {"nvidia-smi-topo/hgx8.txt",
       {},
       "NIC8\tNODE",
       "\nNIC8\tNODE",
       "log:18: the matrix ends after 16 of 17 rows; give what `nvidia-smi topo -m` prints, whole and with its tabs"},
      {"nvidia-smi-topo/hgx8.txt", {}, "GPU0", "GPU8", "log:2: a row of \"GPU0\"; GPU8 is next"},
  });
}

// An XML file that is cut anywhere is no XML.
TEST(ImportMalformed, TopologiesThatAreCut) {
  const std::string text = sample("nccl-topology/hgx8.xml");
  for (std::size_t end = 20; end + 2 < text.size(); end += 37)
    EXPECT_NE(topology_refusal(text.substr(0, end)), "") << end;
}

}  // namespace
}  // namespace foretoken::calibrate
