#include "calibrate/import/csv_table.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <string>
#include <string_view>

#include "core/error.hpp"

namespace foretoken::calibrate {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr std::array<std::string_view, 2> kColumns{"time", "size"};

std::string message_of(std::string_view text) {
  try {
    const CsvTable table = CsvTable::from_text(text, "t.csv", kColumns);
    for (std::size_t row = 0; row < table.size(); ++row) {
      (void)table.number(row, 0, 0.0, 100.0);
      (void)table.integer(row, 1, 1, 1000);
    }
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_input);
    return error.what();
  }
  return "accepted";
}

TEST(CsvTable, AByteOrderMarkIsNoPartOfTheFirstColumn) {
  EXPECT_EQ(message_of("\xEF\xBB\xBFtime,size\n1,8\n"), "accepted");
}

TEST(CsvTable, FindsColumnsByNameAndSkipsComments) {
  const CsvTable table = CsvTable::from_text("# source: somewhere, far\r\nsize,other,time\r\n8,x,1.5\r\n\r\n16,y,2e1\n",
                                             "t.csv", kColumns);
  ASSERT_EQ(table.size(), 2U);
  EXPECT_EQ(table.number(0, 0, 0.0, 100.0), 1.5);
  EXPECT_EQ(table.integer(0, 1, 1, 100), 8);
  EXPECT_EQ(table.number(1, 0, 0.0, 100.0), 20.0);
  EXPECT_EQ(table.text(1, 1), "16");
}

TEST(CsvTable, NamesFileAndLineOfDamage) {
  EXPECT_EQ(message_of("time,size\n1,2\n"), "accepted");
  EXPECT_THAT(message_of(""), HasSubstr("t.csv: no header"));
  EXPECT_THAT(message_of("# only a comment\n"), HasSubstr("no header"));
  EXPECT_THAT(message_of("time,length\n"), AllOf(HasSubstr("t.csv:1"), HasSubstr("\"size\" appears 0 times")));
  EXPECT_THAT(message_of("time,size,time\n"), HasSubstr("\"time\" appears 2 times"));
  // Line 4 of the file, though the second record.
  EXPECT_THAT(message_of("# c\ntime,size\n1,2\n3\n"), AllOf(HasSubstr("t.csv:4"), HasSubstr("1 fields")));
  EXPECT_THAT(message_of("time,size\n1,2,3\n"), HasSubstr("3 fields"));
  EXPECT_THAT(message_of("time,size\n\"1\",2\n"), HasSubstr("quoted"));
  for (const char* bad : {"", "x", "1.5ms", "nan", "inf", "-1", "101", " 1", "0x10"}) {
    EXPECT_THAT(message_of(std::string("time,size\n") + bad + ",2\n"),
                AllOf(HasSubstr("t.csv:2"), HasSubstr("time is")))
        << bad;
  }
  for (const char* bad : {"", "1.5", "0", "1001", "99999999999999999999", "1e2"}) {
    EXPECT_THAT(message_of(std::string("time,size\n1,") + bad + "\n"), HasSubstr("size is")) << bad;
  }
}

TEST(CsvTable, MissingFileIsAnError) { EXPECT_THROW((void)CsvTable::from_file("no/such/file.csv", kColumns), Error); }

}  // namespace
}  // namespace foretoken::calibrate
