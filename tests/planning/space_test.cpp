// The points of a sweep, and its journal.
#include "tools/planning/space.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "tools/planning/journal.hpp"
#include "tools/planning/prices.hpp"
#include "tools/planning/work.hpp"

namespace foretoken::planning {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

/// Of the Error{invalid_input} that the call throws.
std::string message_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_input);
    return error.what();
  }
  return "no error";
}

TEST(Axis, PartsValuesAtCommasOutsideBracketsAndQuotes) {
  EXPECT_THAT(read_axis("a.b=8,16").values, ElementsAre("8", "16"));
  EXPECT_THAT(read_axis(R"(a={"tp":8,"dp":8},{"tp":1,"dp":64})").values,
              ElementsAre(R"({"tp":8,"dp":8})", R"({"tp":1,"dp":64})"));
  EXPECT_THAT(read_axis(R"(a=[1,[2,3]],"x,\",y")").values, ElementsAre("[1,[2,3]]", R"("x,\",y")"));
  EXPECT_THAT(read_axis("cluster.nic=200 Gb/s,400 Gb/s").values, ElementsAre("200 Gb/s", "400 Gb/s"));
  EXPECT_EQ(read_axis("a.b=1").field, "a.b");
}

TEST(Axis, HasRanges) {
  EXPECT_THAT(read_axis("a=1..4").values, ElementsAre("1", "2", "3", "4"));
  EXPECT_THAT(read_axis("a=0..100+50").values, ElementsAre("0", "50", "100"));
  EXPECT_THAT(read_axis("a=8..70*2").values, ElementsAre("8", "16", "32", "64"));
  EXPECT_THAT(read_axis("a=3..3,7..9+2").values, ElementsAre("3", "7", "9"));
  // What only resembles a range is text.
  EXPECT_THAT(read_axis("a=../x.json,1..b").values, ElementsAre("../x.json", "1..b"));
}

TEST(Axis, SaysWhatIsWrong) {
  const auto axis = [](const char* text) { return message_of([=] { static_cast<void>(read_axis(text)); }); };
  EXPECT_THAT(axis("a"), HasSubstr("is not FIELD=VALUE,VALUE,..."));
  EXPECT_THAT(axis("=1"), HasSubstr("is not FIELD=VALUE,VALUE,..."));
  EXPECT_THAT(axis("a="), HasSubstr("has no value"));
  EXPECT_THAT(axis("a=1,,2"), HasSubstr("has an empty value"));
  EXPECT_THAT(axis("a=1,"), HasSubstr("has an empty value"));
  EXPECT_THAT(axis("a=1,2,1"), HasSubstr("has the value 1 twice"));
  EXPECT_THAT(axis("a={1"), HasSubstr("a \"}\" is missing"));
  EXPECT_THAT(axis("a=1]"), HasSubstr("a \"]\" closes nothing"));
  EXPECT_THAT(axis("a=\"x"), HasSubstr("a quote does not close"));
  EXPECT_THAT(axis("a=4..1"), HasSubstr("has no numbers"));
  EXPECT_THAT(axis("a=1..4+0"), HasSubstr("does not move on"));
  EXPECT_THAT(axis("a=1..4*1"), HasSubstr("does not move on"));
  EXPECT_THAT(axis("a=0..4*2"), HasSubstr("does not move on"));
  EXPECT_THAT(axis("a=0..100000000"), HasSubstr("has more than 1000000 values"));
}

TEST(Space, IsTheProductWithTheLastFieldFastest) {
  const Space space({read_axis("a=1,2"), read_axis("b=x"), read_axis("c=5,6,7")}, 100);
  ASSERT_EQ(space.size(), 6U);
  EXPECT_THAT(space.assignments_of(0), ElementsAre("a=1", "b=x", "c=5"));
  EXPECT_THAT(space.assignments_of(2), ElementsAre("a=1", "b=x", "c=7"));
  EXPECT_THAT(space.assignments_of(3), ElementsAre("a=2", "b=x", "c=5"));
  EXPECT_EQ(Space({}, 1).size(), 1U);
}

TEST(Space, RefusesAFieldTwiceAndTooManyPoints) {
  EXPECT_THAT(message_of([] { Space({read_axis("a=1"), read_axis("a=2")}, 10); }), HasSubstr("is also set"));
  EXPECT_THAT(message_of([] { Space({read_axis("a.b=1"), read_axis("a={}")}, 10); }), HasSubstr("set one of the two"));
  EXPECT_EQ(Space({read_axis("a=1"), read_axis("ab=2")}, 10).size(), 1U);
  const std::string many = message_of([] {
    Space({read_axis("a=1..1000"), read_axis("b=1..1000"), read_axis("c=1..1001")}, 1'000'000);
  });
  EXPECT_THAT(many, HasSubstr("1.001e+09 points (1000 of a x 1000 of b x 1001 of c)"));
  EXPECT_THAT(many, HasSubstr("c has most"));
}

// ---- prices --------------------------------------------------------------------------------------------------------

TEST(Prices, NeedTheirUnits) {
  EXPECT_EQ(read_price("2.5 USD/h").per_hour, 2.5);
  EXPECT_EQ(read_price("2.5EUR/h").currency, "EUR");
  EXPECT_EQ(read_watts("0.7 kW"), 700);
  // 1,800 tokens/s and GPU are 6.48 million tokens an hour: 2 / 6.48 each.
  EXPECT_NEAR(per_million_tokens({2, "USD"}, 1800), 2 / 6.48, 1e-12);
  EXPECT_EQ(joules_per_token(700, 1400), 0.5);
  const auto price = [](const char* text) { return message_of([=] { static_cast<void>(read_price(text)); }); };
  const auto watts = [](const char* text) { return message_of([=] { static_cast<void>(read_watts(text)); }); };
  EXPECT_THAT(price("2.5"), HasSubstr("has no unit"));
  EXPECT_THAT(price("2.5 USD"), HasSubstr("has the unit \"USD\""));
  EXPECT_THAT(price("2.5 /h"), HasSubstr("has the unit"));
  EXPECT_THAT(price("-1 USD/h"), HasSubstr("is no amount"));
  EXPECT_THAT(price("USD/h"), HasSubstr("is no amount"));
  EXPECT_THAT(price("nan USD/h"), HasSubstr("is no amount"));
  EXPECT_THAT(watts("700"), HasSubstr("has no unit"));
  EXPECT_THAT(watts("700 J"), HasSubstr("has the unit \"J\""));
  EXPECT_THAT(watts("-7 W"), HasSubstr("is no power"));
}

// ---- journal -------------------------------------------------------------------------------------------------------

class JournalFile : public testing::Test {
 protected:
  JournalFile() : file(fs::temp_directory_path() / ("foretoken_journal_test_" + std::to_string(::getpid()))) {
    fs::remove(file);
  }
  ~JournalFile() override { fs::remove(file); }

  void append(const std::string& text) const { std::ofstream(file, std::ios::app | std::ios::binary) << text; }
  [[nodiscard]] std::string text() const {
    std::ifstream in(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  [[nodiscard]] std::string refusal(const std::string& sweep = "s", std::size_t points = 9) const {
    return message_of([&] { Journal(file, sweep, points); });
  }

  fs::path file;
};

TEST_F(JournalFile, HasWhatWasAdded) {
  {
    Journal journal(file, "s", 9);
    EXPECT_THAT(journal.known(), IsEmpty());
    journal.add(3, R"({"b":0.1,"a":[]})");
    journal.add(0, R"({"x":1})");
  }
  const Journal again(file, "s", 9);
  EXPECT_EQ(again.known().size(), 2U);
  EXPECT_EQ(again.known().at(3), R"({"b":0.1,"a":[]})");
}

// A kill may leave any part of the last line: every cut of a journal of two points has one or two of them.
TEST_F(JournalFile, LosesAtMostItsDamagedLastLine) {
  { Journal(file, "s", 9).add(3, R"({"a":1})"); }
  const std::size_t one = text().size();
  { Journal(file, "s", 9).add(4, R"({"a":2})"); }
  const std::string whole = text();
  for (std::size_t size = 0; size <= whole.size(); ++size) {
    fs::remove(file);
    append(whole.substr(0, size));
    Journal journal(file, "s", 9);
    const std::size_t expected = size == whole.size() ? 2 : size >= one ? 1 : 0;
    EXPECT_EQ(journal.known().size(), expected) << size;
    journal.add(5, R"({"a":3})");
  }
  EXPECT_EQ(Journal(file, "s", 9).known().size(), 3U);
}

TEST_F(JournalFile, SaysWhatIsWrong) {
  { Journal(file, "s", 9).add(3, R"({"a":1})"); }
  EXPECT_THAT(refusal("other"), HasSubstr("is the journal of another sweep"));
  EXPECT_THAT(refusal("s", 8), HasSubstr("is the journal of another sweep"));
  {
    const Journal first(file, "s", 9);
    EXPECT_THAT(refusal(), HasSubstr("is in use by another sweep"));
  }
  append("garbage\n{\"point\":4,\"result\":{}}\n");
  EXPECT_THAT(refusal(), HasSubstr("line 3 is damaged, and others follow"));
  fs::remove(file);
  append("a,b\n1,2\n");
  EXPECT_THAT(refusal(), HasSubstr("is no journal of a sweep"));
  EXPECT_EQ(text(), "a,b\n1,2\n");
  EXPECT_THAT(message_of([] { Journal("/dev/full", "s", 9); }), HasSubstr("is no regular file"));
  EXPECT_THAT(message_of([] { Journal("/no/such/folder/j", "s", 9); }), HasSubstr("cannot be opened"));
}

// ---- work ----------------------------------------------------------------------------------------------------------

TEST(WorkOnThreads, DoesEachPointOnceAndPassesErrorsOn) {
  std::vector<std::size_t> points;
  for (std::size_t i = 0; i < 100; ++i) points.push_back(i);
  std::vector<int> done(100);
  work_on_threads(
      points, 4, [](std::size_t point) { return std::to_string(2 * point); },
      [&](std::size_t point, const std::string& result) {
        EXPECT_EQ(result, std::to_string(2 * point));
        ++done[point];
      });
  EXPECT_THAT(done, testing::Each(1));
  EXPECT_THAT(message_of([&] {
                work_on_threads(
                    points, 4,
                    [](std::size_t point) -> std::string {
                      if (point == 50) throw Error(ErrorCode::invalid_input, "fifty");
                      return "";
                    },
                    [](std::size_t, const std::string&) {});
              }),
              HasSubstr("fifty"));
}

}  // namespace
}  // namespace foretoken::planning
