// Drawings hold what they should, once: names, numbers, rates; and no box over another.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <pugixml.hpp>
#include <string>
#include <vector>

#include "tests/topology/files.hpp"
#include "tools/topology/canvas.hpp"
#include "tools/topology/node_parts.hpp"
#include "tools/topology/picture.hpp"
#include "tools/topology/svg.hpp"
#include "tools/topology/svg_drawing.hpp"
#include "tools/topology/text_drawing.hpp"

namespace foretoken::topology {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;

struct Drawn {
  Picture picture;
  std::string text;
  std::string svg;
};

Drawn drawn(const plan::Topology& topology) {
  const plan::Machine machine = plan::build_machine(topology);
  Drawn result{picture_of(topology, machine), {}, {}};
  result.text = text_drawing(result.picture, machine);
  result.svg = svg_drawing(result.picture, machine);
  return result;
}
Drawn drawn(const std::string& name) { return drawn(plan::read_topology("topologies/" + name + ".json")); }

// ---- the picture ---------------------------------------------------------------------------------------------------

TEST(Picture, TellsRailsPodsAndSpines) {
  const Picture picture = drawn("hgx-h100-128nodes-rails-ndr400").picture;
  EXPECT_TRUE(picture.rails);
  ASSERT_THAT(picture.tiers, SizeIs(2));
  EXPECT_EQ(picture.tiers[0].kind, "leaf");
  EXPECT_THAT(picture.tiers[0].switches, SizeIs(32));
  EXPECT_EQ(picture.tiers[1].kind, "spine");
  ASSERT_THAT(picture.groups, SizeIs(4));
  EXPECT_THAT(picture.groups[0].nodes, SizeIs(32));
  EXPECT_THAT(picture.groups[0].leaves, SizeIs(8));
  ASSERT_TRUE(picture.oversubscription.has_value());
  EXPECT_DOUBLE_EQ(picture.oversubscription->max, 1);
}

// 128 nodes of 8: each GPU's NVLink and its PCIe, each NIC's PCIe and cable; 32 leaves x 32 cables up.
TEST(Picture, CountsCablesByKind) {
  const Picture picture = drawn("hgx-h100-128nodes-rails-ndr400").picture;
  std::vector<std::int64_t> counts;
  for (const LinkKind& kind : picture.links) counts.push_back(kind.count);
  EXPECT_THAT(counts, ElementsAre(1024, 1024, 1024, 1024, 1024));
  EXPECT_EQ(picture.links.back().to, "spine");
  EXPECT_TRUE(picture.links.front().latency_assumed);
  EXPECT_FALSE(picture.links.front().bandwidth_assumed);
}

TEST(Picture, GroupsNodesByTheirLeaves) {
  const Picture picture = drawn("lab/4x4-oversubscribed").picture;
  EXPECT_FALSE(picture.rails);
  ASSERT_THAT(picture.groups, SizeIs(2));
  EXPECT_THAT(picture.groups[1].nodes, ElementsAre(2, 3));
  EXPECT_DOUBLE_EQ(picture.oversubscription->min, 2);
}

TEST(Picture, OfOneComputerHasNoNetwork) {
  const Drawn host = drawn("host");
  EXPECT_TRUE(host.picture.tiers.empty());
  EXPECT_THAT(host.text, HasSubstr("one computer, no network"));
}

// A switch over the spines, cabled to one of them: three tiers.
TEST(Picture, FindsThirdTiersInALine) {
  nlohmann::json file = shipped("hgx-h100-2nodes-ndr400");
  file["nodes"] = 2;
  file["node"]["nics"] = 1;
  file["fabric"] =
      nlohmann::json::parse(R"({"kind": "explicit", "switches": ["core", "s0", "s1", "l0", "l1"], "links": [
      {"between": ["node0.nic0", "l0"]}, {"between": ["l1", "node1.nic0"]},
      {"between": ["s0", "l0"], "bandwidth": "400 Gb/s", "latency": "1 us", "count": 2},
      {"between": ["l1", "s1"], "bandwidth": "200 Gb/s", "latency": "1 us"},
      {"between": ["core", "s0"], "bandwidth": "400 Gb/s", "latency": "1 us"},
      {"between": ["s1", "core"], "bandwidth": "400 Gb/s", "latency": "1 us"}]})");
  file["sources"]["fabric.links"] = "assumed";
  const Drawn list = drawn(topology_of(file));
  ASSERT_THAT(list.picture.tiers, SizeIs(3));
  EXPECT_EQ(list.picture.tiers[2].kind, "core");
  EXPECT_DOUBLE_EQ(list.picture.oversubscription->min, 0.5);
  EXPECT_DOUBLE_EQ(list.picture.oversubscription->max, 2);
  EXPECT_THAT(list.text, AllOf(HasSubstr("1 to 2 x 200 Gb/s to 400 Gb/s"), HasSubstr("0.5 to 2 : 1")));
}

// ---- text ----------------------------------------------------------------------------------------------------------

TEST(Canvas, JoinsLinesWhereTheyMeet) {
  Canvas canvas;
  canvas.horizontal(0, 0, 4);
  canvas.vertical(0, 0, 2);
  canvas.vertical(4, 0, 2);
  canvas.horizontal(2, 0, 4);
  canvas.vertical(2, 2, 3);
  canvas.text(1, 1, "abc");
  EXPECT_EQ(canvas.rows(1), " ┌───┐\n │abc│\n └─┬─┘\n   │\n");
}

TEST(TextDrawing, OfANodeWithSharedNics) {
  const std::string text = drawn("hgx-h100-8nodes-4nics-ndr400").text;
  EXPECT_THAT(text, HasSubstr(" gpu0   gpu1     gpu2   gpu3     gpu4   gpu5     gpu6   gpu7\n"));
  EXPECT_THAT(text, HasSubstr("└───┬──┘"));
  EXPECT_THAT(text, HasSubstr("nic3"));
  EXPECT_THAT(text, Not(HasSubstr("nic4")));
  EXPECT_THAT(text, HasSubstr("GPU - NVSwitch"));
}

TEST(TextDrawing, OfARackTellsTheFirstGpusAndTheRestByNumber) {
  const std::string text = drawn("gb200-nvl72").text;
  EXPECT_THAT(text, AllOf(HasSubstr("gpu7"), HasSubstr("x 64 more GPUs like these"), Not(HasSubstr("gpu8"))));
  EXPECT_THAT(text, HasSubstr("the node, 72 gb200-186gb"));
}

TEST(TextDrawing, OfRails) {
  const std::string text = drawn("hgx-h100-128nodes-rails-ndr400").text;
  EXPECT_THAT(text, AllOf(HasSubstr("spine0 ... spine15"), HasSubstr("32 leaves, each of one rail"),
                          HasSubstr("2 x 400 Gb/s from every leaf to every spine; oversubscription 1 : 1"),
                          HasSubstr("pod3.leaf0 ... pod3.leaf7"), HasSubstr("* assumed")));
}

// ---- SVG -----------------------------------------------------------------------------------------------------------

TEST(Svg, IsXmlWhateverTheNames) {
  Svg svg;
  svg.box({0, 0, 50, 10}, "node", "<a&b>\x01 \"quoted\"");
  svg.text({1, 1}, "note", "</svg>");
  pugi::xml_document document;
  EXPECT_TRUE(document.load_string(svg.file(60, 20, "a < b").c_str()));
}

TEST(Svg, CutsNamesBetweenCharacters) {
  Svg svg;
  svg.box({0, 0, 70, 10}, "node", "ääääääääääääää");
  const std::string text = svg.file(80, 20, "t");
  EXPECT_THAT(text, HasSubstr(">äääääääää…<"));
  EXPECT_THAT(text, HasSubstr("<title>ääääääääääääää</title>"));
}

std::vector<Box> boxes_of(const std::string& svg) {
  pugi::xml_document document;
  EXPECT_TRUE(document.load_string(svg.c_str()));
  std::vector<Box> boxes;
  for (const pugi::xml_node group : document.child("svg").children("g")) {
    const pugi::xml_node rect = group.child("rect");
    boxes.push_back({rect.attribute("x").as_double(), rect.attribute("y").as_double(),
                     rect.attribute("width").as_double(), rect.attribute("height").as_double()});
  }
  return boxes;
}

class EverySvg : public ::testing::TestWithParam<const char*> {};

TEST_P(EverySvg, HasBoxesInsideItsSheetAndNoneOverAnother) {
  const std::string svg = drawn(GetParam()).svg;
  pugi::xml_document document;
  ASSERT_TRUE(document.load_string(svg.c_str()));
  const pugi::xml_node sheet = document.child("svg").child("rect");
  const std::vector<Box> boxes = boxes_of(svg);
  ASSERT_FALSE(boxes.empty());
  for (std::size_t a = 0; a < boxes.size(); ++a) {
    EXPECT_LE(boxes[a].right(), sheet.attribute("width").as_double());
    EXPECT_LE(boxes[a].bottom().y, sheet.attribute("height").as_double());
    for (std::size_t b = 0; b < a; ++b) {
      const bool apart = boxes[a].right() <= boxes[b].x || boxes[b].right() <= boxes[a].x ||
                         boxes[a].bottom().y <= boxes[b].y || boxes[b].bottom().y <= boxes[a].y;
      EXPECT_TRUE(apart) << GetParam() << ": boxes " << a << " and " << b;
    }
  }
  EXPECT_LT(svg.size(), 200'000U) << "it grows with the cluster";
}

INSTANTIATE_TEST_SUITE_P(Machines, EverySvg,
                         ::testing::Values("host", "lab/4x4-oversubscribed", "lab/8x8", "hgx-h100-2nodes-ndr400",
                                           "hgx-h100-8nodes-ndr400", "hgx-h100-8nodes-4nics-ndr400",
                                           "hgx-h100-64nodes-2to1-ndr400", "hgx-h100-128nodes-rails-ndr400",
                                           "gb200-nvl72"));

TEST(SvgDrawing, TellsWhatItLeavesOut) {
  const std::string rails = drawn("hgx-h100-128nodes-rails-ndr400").svg;
  EXPECT_THAT(rails, AllOf(HasSubstr("× 30 more like these"), HasSubstr("× 2 more like these"),
                           HasSubstr("× 10 more like these"), HasSubstr("oversubscription 1 : 1")));
  EXPECT_THAT(drawn("gb200-nvl72").svg, HasSubstr("× 64 more like these"));
}

// 16,384 nodes, one GPU each: a drawing like any other.
TEST(SvgDrawing, DoesNotGrowWithTheCluster) {
  nlohmann::json file = shipped("hgx-h100-32nodes-rails-ndr400");
  file["nodes"] = 16'384;
  EXPECT_LT(drawn(topology_of(file)).svg.size(), 100'000U);
}

}  // namespace
}  // namespace foretoken::topology
