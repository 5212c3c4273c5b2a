// Files that grow line by line: what a kill or a full disk leaves of them.
#include "core/line_file.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "core/error.hpp"

namespace foretoken {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class LineFileTest : public testing::Test {
 protected:
  LineFileTest() : file(fs::temp_directory_path() / ("foretoken_line_file_" + std::to_string(::getpid()))) {
    fs::remove(file);
  }
  ~LineFileTest() override { fs::remove(file); }
  [[nodiscard]] std::string text() const {
    std::ifstream in(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  template <class Work>
  static std::string message_of(const Work& work) {
    try {
      work();
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  }
  fs::path file;
};

TEST_F(LineFileTest, HasWhatWasAppended) {
  {
    LineFile lines(file);
    EXPECT_THAT(lines.lines(), IsEmpty());
    lines.append("one");
    lines.append("");
  }
  LineFile again(file);
  EXPECT_THAT(again.lines(), ElementsAre("one", ""));
  again.append("three");
  EXPECT_EQ(text(), "one\n\nthree\n");
}

TEST_F(LineFileTest, ATornLineCountsForNothingAndIsCutOffOnlyWhenTheNextIsWritten) {
  std::ofstream(file) << "one\ntw";
  {
    const LineFile lines(file);
    EXPECT_THAT(lines.lines(), ElementsAre("one"));
    EXPECT_EQ(lines.torn(), "tw");
  }
  EXPECT_EQ(text(), "one\ntw") << "opening changes nothing: the file may be somebody else's";
  LineFile(file).append("three");
  EXPECT_EQ(text(), "one\nthree\n");
}

// A disk that is full after 10 bytes, as far as this process can tell: "one" and "two" take 8.
TEST_F(LineFileTest, AFullDiskLosesNoLine) {
  LineFile lines(file);
  lines.append("one");
  lines.append("two");
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit full = before;
  full.rlim_cur = 10;
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &full), 0);
  const std::string message = message_of([&] { lines.append("three"); });
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, handler);
  EXPECT_THAT(message, testing::AllOf(HasSubstr(file.string()), HasSubstr("cannot be written"), HasSubstr("is lost")));
  EXPECT_EQ(text(), "one\ntwo\n");
  lines.append("three");
  EXPECT_EQ(text(), "one\ntwo\nthree\n");
}

TEST_F(LineFileTest, IsForOneProcessAtATime) {
  const LineFile first(file);
  EXPECT_THAT(message_of([&] { LineFile second(file); }), HasSubstr("is in use"));
  EXPECT_THAT(message_of([] { LineFile device("/dev/full"); }), HasSubstr("is no regular file"));
  EXPECT_THAT(message_of([] { LineFile nowhere("/no/such/folder/file"); }), HasSubstr("cannot be opened"));
}

}  // namespace
}  // namespace foretoken
