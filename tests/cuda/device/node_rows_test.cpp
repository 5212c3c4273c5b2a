// The kernels of tokens that go once per node, against plain loops. What the tables hold:
// tests/cuda/once_per_node_test.
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "runtime/cuda/device/kernels.hpp"
#include "runtime/cuda/once_per_node.hpp"
#include "tests/cuda/device/on_device.hpp"

namespace foretoken::test {
namespace {

using namespace runtime::cuda;  // NOLINT(google-build-using-namespace): all of this file is about it

class NodeRowKernels : public KernelTest {};

// There: packed with their weights, passed on, and taken apart again. Widths with which rows are copied in words of 16,
// 8, 4 and, in types of two bytes, 2 bytes.
TEST_P(NodeRowKernels, CarryTokensAndTheirWeights) {
  constexpr std::int64_t tokens = 5;
  const std::vector<std::int32_t> leaving{4, 0, 0, 2, 1, 3, 4};
  const std::vector<std::int32_t> visitors{6, 2, 2, 0};
  for (const auto& [hidden, top_k] :
       std::vector<std::pair<std::int64_t, std::int64_t>>{{512, 8}, {512, 2}, {36, 3}, {37, 1}, {37, 3}, {4096, 4}}) {
    const std::string what = std::to_string(hidden) + " columns, " + std::to_string(top_k) + " weights";
    const std::int64_t element = bytes_per_element(dtype());
    const NodeRow shape{hidden * element, top_k};
    const Floats in = drawn(dtype(), size_of(tokens, hidden), 1);
    const Floats routes = drawn(DType::fp32, size_of(tokens, 2 * top_k), 2);
    const std::vector<std::byte> in_bytes = to_bytes(dtype(), in);
    const OnDevice source(dtype(), in);
    const auto routes_there = on_device(routes);
    const auto rows = on_device(leaving);
    const auto chosen = on_device(visitors);
    std::vector<std::int32_t> choices;
    for (std::size_t i = 0; i < visitors.size(); ++i)
      choices.push_back(static_cast<std::int32_t>(i % static_cast<std::size_t>(top_k)));
    const auto choices_there = on_device(choices);

    std::vector<std::byte> expected(leaving.size() * static_cast<std::size_t>(shape.bytes()));
    for (std::size_t row = 0; row < leaving.size(); ++row) {
      std::byte* const to = expected.data() + row * static_cast<std::size_t>(shape.bytes());
      std::memcpy(to, in_bytes.data() + leaving[row] * shape.hidden_bytes,
                  static_cast<std::size_t>(shape.hidden_bytes));
      for (std::int64_t choice = 0; choice < top_k; ++choice)
        put_weight(shape, to, choice, routes[static_cast<std::size_t>((2 * leaving[row] + 1) * top_k + choice)]);
    }
    const DeviceArray<std::byte> packed(expected.size());
    pack_node_rows(nullptr, std::ssize(leaving), shape, rows.data(), source.data(), routes_there.data(), packed.data());
    EXPECT_EQ(packed.read(), expected) << what;

    const DeviceArray<std::byte> passed(visitors.size() * static_cast<std::size_t>(shape.bytes()));
    pass_node_rows(nullptr, std::ssize(visitors), shape, chosen.data(), packed.data(), passed.data());
    const std::vector<std::byte> came = passed.read();
    for (std::size_t row = 0; row < visitors.size(); ++row)
      EXPECT_EQ(0,
                std::memcmp(came.data() + row * static_cast<std::size_t>(shape.bytes()),
                            expected.data() + visitors[row] * shape.bytes(), static_cast<std::size_t>(shape.bytes())))
          << what << ", row " << row;

    const OnDevice used(dtype(), size_of(std::ssize(visitors), hidden));
    const DeviceArray<float> weights(visitors.size());
    use_node_rows(nullptr, std::ssize(visitors), shape, chosen.data(), choices_there.data(), packed.data(), used.data(),
                  weights.data());
    const Floats of_experts = used.read();
    const Floats weights_found = weights.read();
    for (std::size_t row = 0; row < visitors.size(); ++row) {
      const std::int64_t token = leaving[static_cast<std::size_t>(visitors[row])];
      for (std::int64_t col = 0; col < hidden; ++col)
        ASSERT_EQ(of_experts[row * static_cast<std::size_t>(hidden) + static_cast<std::size_t>(col)],
                  in[static_cast<std::size_t>(token * hidden + col)])
            << what;
      EXPECT_EQ(weights_found[row], routes[static_cast<std::size_t>((2 * token + 1) * top_k + choices[row])]) << what;
    }
  }
}

// And back: sums of experts' rows, of what came back, of both, and of nothing at all; each to a row of its own.
TEST_P(NodeRowKernels, AddUpInTheOrderOfTheTerms) {
  const std::vector<std::int32_t> targets{3, 0, 4, 1};
  const std::vector<std::int32_t> first_terms{0, 1, 3, 6, 6};
  const std::vector<std::int32_t> terms{~0, 2, 0, 1, ~2, 0};
  const std::vector<std::int32_t> first_uses{0, 2, 2, 3};
  const std::vector<std::int32_t> uses{1, 3, 0};
  const Floats weights = drawn(DType::fp32, 4, 4);
  for (const std::int64_t cols : {8, 37, 512}) {
    const Floats experts = drawn(dtype(), size_of(4, cols), 1);
    const Floats back = drawn(dtype(), size_of(3, cols), 2);
    const auto at = [&](const Floats& rows, std::int64_t row, std::int64_t col) {
      return rows[static_cast<std::size_t>(row * cols + col)];
    };
    Floats expected = rounded(dtype(), Floats(size_of(5, cols), -9'999));
    for (std::int64_t col = 0; col < cols; ++col) {
      const auto weighed = [&](std::int64_t row) {
        return weights[static_cast<std::size_t>(row)] * at(experts, row, col);
      };
      const auto put = [&](std::int64_t row, float sum) { expected[static_cast<std::size_t>(row * cols + col)] = sum; };
      put(3, weighed(1) + weighed(3));
      put(0, at(back, 2, col) + at(back, 0, col));
      put(4, at(back, 1, col) + weighed(0) + at(back, 0, col));
      put(1, 0);
    }
    const auto targets_there = on_device(targets);
    const auto first_terms_there = on_device(first_terms);
    const auto terms_there = on_device(terms);
    const auto first_uses_there = on_device(first_uses);
    const auto uses_there = on_device(uses);
    const NodeSums sums{4,
                        targets_there.data(),
                        first_terms_there.data(),
                        terms_there.data(),
                        first_uses_there.data(),
                        uses_there.data()};
    const OnDevice rows(dtype(), experts);
    const OnDevice came(dtype(), back);
    const auto weights_there = on_device(weights);
    const OnDevice out(dtype(), size_of(5, cols));
    sum_node_rows(queue(), cols, sums, rows.data(), weights_there.data(), came.data(), out.data());
    const Floats found = out.read();
    // Row 2 is nobody's target; the tolerance of the others is of their own size, not of its filling.
    for (const std::int64_t row : {0, 1, 3, 4}) {
      const auto part = [&](const Floats& all) {
        return Floats(all.begin() + row * cols, all.begin() + (row + 1) * cols);
      };
      expect_near(part(found), part(expected), tolerance(dtype()), "row " + std::to_string(row));
    }
    for (std::int64_t col = 0; col < cols; ++col) EXPECT_EQ(at(found, 2, col), at(expected, 2, col));
  }
}

INSTANTIATE_TEST_SUITE_P(Types, NodeRowKernels, element_types(), name_of_type);

}  // namespace
}  // namespace foretoken::test
