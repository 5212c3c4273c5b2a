// The include rules hold what they say: each is broken once here, on invented files.
#include "tests/style/include_rules.hpp"

#include <gtest/gtest.h>

namespace foretoken::style {
namespace {

struct Case {
  std::string_view path;
  std::string_view header;  // with its quotes or brackets
};

std::string include(std::string_view header) { return "// A file.\n#include " + std::string(header) + "\n"; }

TEST(IncludeRules, AllowTheDirectionOfTheFolders) {
  for (const auto& [path, header] : {
           Case{"core/units.cpp", "\"core/units.hpp\""},
           Case{"core/json_reader.cpp", "<nlohmann/json.hpp>"},
           Case{"plan/program.cpp", "\"core/units.hpp\""},
           Case{"plan/machine/graph.cpp", "<boost/graph/adjacency_list.hpp>"},
           Case{"sim/engine.cpp", "\"plan/program.hpp\""},
           Case{"runtime/executor.cpp", "\"plan/program.hpp\""},
           Case{"runtime/host/mpi.cpp", "<mpi.h>"},
           Case{"runtime/cuda/kernels.cu", "<cuda_runtime.h>"},
           Case{"runtime/cuda/communicator.cpp", "<nccl.h>"},
           Case{"calibrate/fit.cpp", "\"sim/cost/gemm.hpp\""},
           Case{"calibrate/measure/gemm.cpp", "\"runtime/backend.hpp\""},
           Case{"calibrate/measure/gemm.cpp", "<cublasLt.h>"},
           Case{"tools/cli/main.cpp", "<CLI/CLI.hpp>"},
           Case{"tools/cli/version.cpp", "\"foretoken_version.hpp\""},
           Case{"tests/cli/install_test.cpp", "\"foretoken_places.hpp\""},
           Case{"tools/planning/sweep.cpp", "<mpi.h>"},
           Case{"tools/explain/compare.cpp", "\"runtime/executor.hpp\""},
           Case{"tests/sim/engine_test.cpp", "\"runtime/executor.hpp\""},
       }) {
    EXPECT_TRUE(check_includes(path, include(header)).empty()) << path << " including " << header;
  }
}

TEST(IncludeRules, RejectEveryOtherDirection) {
  for (const auto& [path, header] : {
           Case{"core/units.cpp", "\"plan/program.hpp\""},
           Case{"core/units.hpp", "\"tools/cli/version.hpp\""},
           Case{"plan/program.cpp", "\"sim/engine.hpp\""},
           Case{"plan/program.cpp", "\"runtime/executor.hpp\""},
           Case{"plan/program.cpp", "\"calibrate/fit.hpp\""},
           Case{"sim/engine.cpp", "\"runtime/executor.hpp\""},
           Case{"sim/engine.cpp", "\"calibrate/fit.hpp\""},
           Case{"sim/engine.cpp", "\"tests/sim/oracle.hpp\""},
           Case{"runtime/executor.cpp", "\"sim/engine.hpp\""},
           Case{"runtime/executor.cpp", "\"calibrate/fit.hpp\""},
           Case{"calibrate/fit.cpp", "\"runtime/backend.hpp\""},
           Case{"calibrate/fit.cpp", "\"tools/cli/version.hpp\""},
           Case{"tools/cli/main.cpp", "\"tests/cli/helper.hpp\""},
       }) {
    EXPECT_EQ(check_includes(path, include(header)).size(), 1u) << path << " including " << header;
  }
}

TEST(IncludeRules, KeepLibrariesInTheirPlace) {
  for (const auto& [path, header] : {
           Case{"plan/machine/graph.hpp", "<boost/graph/adjacency_list.hpp>"},  // a header spreads it
           Case{"plan/program.cpp", "<boost/graph/adjacency_list.hpp>"},
           Case{"sim/network/routes.cpp", "<boost/graph/dijkstra_shortest_paths.hpp>"},
           Case{"plan/program.cpp", "<boost/property_map/property_map.hpp>"},
           Case{"runtime/host/gemm.cpp", "<cuda_runtime.h>"},
           Case{"runtime/executor.cpp", "<nccl.h>"},
           Case{"calibrate/fit.cpp", "<cublasLt.h>"},
           Case{"sim/engine.cpp", "<mpi.h>"},
           Case{"sim/engine.cpp", "\"mpi.h\""},
           Case{"calibrate/measure/link.cpp", "<mpi.h>"},
           Case{"tools/explain/compare.cpp", "<CLI/CLI.hpp>"},
           Case{"plan/scenario.cpp", "<CLI/CLI.hpp>"},
       }) {
    EXPECT_EQ(check_includes(path, include(header)).size(), 1u) << path << " including " << header;
  }
}

TEST(IncludeRules, WantOurHeadersNamedFromTheRoot) {
  for (const auto& [path, header] : {
           Case{"core/units.cpp", "\"units.hpp\""},
           Case{"core/units.cpp", "\"../core/units.hpp\""},
           Case{"core/units.cpp", "<core/units.hpp>"},
           Case{"sim/engine.cpp", "\"sim/max_min.cpp\""},
           Case{"tools/cli/main.cpp", "\"foretoken_version.hpp\""},
           Case{"tools/cli/main.cpp", "\"foretoken_places.hpp\""},
           Case{"tools/cli/main.cpp", "HEADER_OF_THE_DAY"},
       }) {
    EXPECT_EQ(check_includes(path, include(header)).size(), 1u) << path << " including " << header;
  }
}

TEST(IncludeRules, NameFileAndLine) {
  const auto findings = check_includes("sim/engine.cpp",
                                       "#include \"core/units.hpp\"\n"
                                       "\n"
                                       "  #  include \"runtime/executor.hpp\"  // why not\n");
  ASSERT_EQ(findings.size(), 1u);
  EXPECT_EQ(findings[0].path, "sim/engine.cpp");
  EXPECT_EQ(findings[0].line, 3);
  EXPECT_EQ(findings[0].message, "sim/ must not include \"runtime/executor.hpp\"");
}

TEST(IncludeRules, KnowEveryFolderThatHoldsCode) {
  EXPECT_EQ(check_includes("serving/server.cpp", "").size(), 1u);
  EXPECT_TRUE(check_includes("core/empty.hpp", "").empty());
}

}  // namespace
}  // namespace foretoken::style
