// The router's kernels, and those that number and move rows, against the host's verbs or plain loops.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "runtime/cuda/arrivals.hpp"
#include "runtime/cuda/device/kernels.hpp"
#include "runtime/cuda/row_order.hpp"
#include "runtime/cuda/top_k.hpp"
#include "runtime/host/verbs.hpp"
#include "tests/cuda/device/on_device.hpp"

namespace foretoken::test {
namespace {

using namespace runtime::cuda;  // NOLINT(google-build-using-namespace): all of this file is about it
namespace host = runtime::host;

class RoutedKernels : public KernelTest {};

// ---- routing -------------------------------------------------------------------------------------------------------

TEST_P(RoutedKernels, RowsMoveToTheBit) {
  for (const auto& [rows, cols] : kShapes) {
    const Floats in = drawn(dtype(), size_of(rows, cols), 1);
    std::vector<std::int32_t> order(static_cast<std::size_t>(rows));
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), std::mt19937(5));
    const auto table = on_device(order);
    const OnDevice source(dtype(), in);
    Floats expected(in.size());
    host::gather_rows(order, cols, in.data(), expected.data());
    const OnDevice gathered(dtype(), in.size());
    gather_rows(queue(), rows, cols, table.data(), source.data(), gathered.data());
    EXPECT_EQ(gathered.read(), expected);
    const OnDevice scattered(dtype(), in.size());
    scatter_rows(queue(), rows, cols, table.data(), gathered.data(), scattered.data());
    EXPECT_EQ(scattered.read(), in);
  }
}

TEST_P(RoutedKernels, UnpermuteIsTheHosts) {
  constexpr std::int64_t tokens = 9;
  constexpr std::int64_t top_k = 3;
  for (const std::int64_t cols : {8, 37, 512}) {
    std::vector<std::int32_t> row_of(static_cast<std::size_t>(tokens * top_k));
    std::iota(row_of.begin(), row_of.end(), 0);
    std::shuffle(row_of.begin(), row_of.end(), std::mt19937(3));
    row_of[4] = row_of[20] = -1;                            // choices that are elsewhere
    std::fill(row_of.begin() + 6, row_of.begin() + 9, -1);  // a token without any
    const Floats in = drawn(dtype(), size_of(tokens * top_k, cols), 1);
    const Floats routes = drawn(DType::fp32, size_of(tokens, 2 * top_k), 2);
    Floats expected(size_of(tokens, cols));
    host::unpermute(tokens, cols, top_k, in.data(), routes.data(), row_of.data(), expected.data());
    const OnDevice out(dtype(), expected.size());
    const OnDevice source(dtype(), in);
    const auto table = on_device(row_of);
    const auto weights = on_device(routes);
    unpermute(queue(), tokens, cols, top_k, source.data(), weights.data(), table.data(), out.data());
    expect_near(out.read(), expected, tolerance(dtype()), "unpermute");
  }
}

TEST_P(RoutedKernels, SlotsHoldEveryRowBehindTheirHeaders) {
  const std::vector<std::int32_t> first_rows{0, 3, 3, 8, 9};  // 4 places, one empty
  for (const Slots slots : {Slots{4, 6, 0}, Slots{4, 9, 2}}) {
    for (const std::int64_t cols : {8, 37}) {
      const Floats in = drawn(dtype(), size_of(9, cols), 1);
      const auto firsts = on_device(first_rows);
      const OnDevice source(dtype(), in);
      const OnDevice spread(dtype(), size_of(4 * slots.block_rows, cols));
      spread_rows(queue(), 9, cols, slots, firsts.data(), source.data(), spread.data());
      const Floats found = spread.read();
      for (std::int64_t row = 0; row < 9; ++row) {
        const std::int64_t slot = slot_of_row(first_rows.data(), slots, row);
        for (std::int64_t c = 0; c < cols; ++c)
          EXPECT_EQ(found[static_cast<std::size_t>(slot * cols + c)], in[static_cast<std::size_t>(row * cols + c)]);
      }
      const OnDevice back(dtype(), in.size());
      collect_rows(queue(), 9, cols, slots, firsts.data(), spread.data(), back.data());
      EXPECT_EQ(back.read(), in);
    }
  }
}

// Launched for the most rows that there could be, kernels leave off where the device's count ends.
TEST_P(RoutedKernels, EndWhereTheDevicesCountDoes) {
  constexpr std::int64_t cols = 24;
  const auto count = on_device(std::vector<std::int32_t>{3});
  const Rows rows(7, count.data());
  const Floats in = drawn(dtype(), size_of(7, 2 * cols), 1);
  const OnDevice source(dtype(), in);
  const auto order = on_device(std::vector<std::int32_t>{6, 0, 2, 1, 1, 1, 1});
  const auto untouched = [&](const OnDevice& out, std::size_t first) {
    const Floats found = out.read();
    return std::all_of(found.begin() + static_cast<std::ptrdiff_t>(first), found.end(),
                       [&](float x) { return x == rounded(dtype(), {-9'999.0F}).front(); });
  };
  const OnDevice gathered(dtype(), size_of(7, cols));
  gather_rows(queue(), rows, cols, order.data(), source.data(), gathered.data());
  EXPECT_TRUE(untouched(gathered, size_of(3, cols)));
  EXPECT_EQ(gathered.read()[0], in[size_of(6, cols)]);
  const OnDevice activated(dtype(), size_of(7, cols));
  activation(queue(), Activation::silu, rows, cols, true, source.data(), activated.data());
  EXPECT_TRUE(untouched(activated, size_of(3, cols)));
  EXPECT_FALSE(untouched(activated, size_of(2, cols)));
}

// ---- in fp32 alone -------------------------------------------------------------------------------------------------

TEST(RouteKernel, IsTheHostsForPlannedExperts) {
  FORETOKEN_NEED_GPU();
  constexpr std::int64_t rows = 11;
  constexpr std::int64_t experts = 40;
  constexpr std::int64_t top_k = 6;
  constexpr std::int64_t hidden = 16;
  const Floats in = drawn(DType::fp32, size_of(rows, hidden), 1);
  const Floats weight = drawn(DType::fp32, size_of(hidden, experts), 2);
  std::vector<std::int32_t> chosen;
  std::mt19937 random(9);
  for (std::int64_t row = 0; row < rows; ++row) {
    std::vector<std::int32_t> all(experts);
    std::iota(all.begin(), all.end(), 0);
    std::shuffle(all.begin(), all.end(), random);
    chosen.insert(chosen.end(), all.begin(), all.begin() + top_k);
  }
  Floats expected(size_of(rows, 2 * top_k));
  Floats logits(size_of(rows, experts));
  host::route(rows, hidden, experts, top_k, in.data(), weight.data(), chosen.data(), expected.data(), logits.data());
  const auto scores = on_device(logits);
  const auto planned = on_device(chosen);
  const OnDevice routes(DType::fp32, expected.size());
  route(nullptr, rows, experts, top_k, scores.data(), planned.data(), static_cast<float*>(routes.data()));
  expect_near(routes.read(), expected, 1e-6, "routes");
}

TEST(RouteKernel, SelectsTheLargestLogits) {
  FORETOKEN_NEED_GPU();
  std::mt19937 random(4);
  for (const std::int64_t experts : {4, 31, 64, 256}) {
    constexpr std::int64_t rows = 37;
    const std::int64_t top_k = std::min<std::int64_t>(8, experts);
    Floats logits(size_of(rows, experts));
    for (float& logit : logits) logit = static_cast<float>(random() % 50) / 8;  // with ties
    const auto scores = on_device(logits);
    const OnDevice routes(DType::fp32, size_of(rows, 2 * top_k));
    route(nullptr, rows, experts, top_k, scores.data(), nullptr, static_cast<float*>(routes.data()));
    const Floats found = routes.read();
    for (std::int64_t row = 0; row < rows; ++row) {
      const float* const own = logits.data() + row * experts;
      std::vector<std::int32_t> order(static_cast<std::size_t>(experts));
      std::iota(order.begin(), order.end(), 0);
      std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) { return own[a] > own[b]; });
      double sum = 0;
      for (std::int64_t j = 0; j < top_k; ++j) sum += std::exp(own[order[static_cast<std::size_t>(j)]] - own[order[0]]);
      for (std::int64_t j = 0; j < top_k; ++j) {
        const std::int32_t expert = order[static_cast<std::size_t>(j)];
        const float* const route_of_row = found.data() + row * 2 * top_k;
        EXPECT_EQ(route_of_row[j], static_cast<float>(expert)) << "row " << row << ", choice " << j;
        EXPECT_NEAR(route_of_row[top_k + j], std::exp(own[expert] - own[order[0]]) / sum, 1e-6);
      }
    }
  }
}

TEST(OrderRows, IsTheOrderOfTheRowTables) {
  FORETOKEN_NEED_GPU();
  std::mt19937 random(8);
  for (const RowPacking packing : {RowPacking::exact, RowPacking::capacity}) {
    for (const std::int64_t choices : {0, 1, 700}) {
      constexpr std::int64_t places = 13;
      constexpr std::int64_t capacity = 700;
      constexpr std::int64_t top_k = 2;
      std::vector<std::int32_t> place_of_choice(static_cast<std::size_t>(choices));
      for (std::int32_t& place : place_of_choice) place = static_cast<std::int32_t>(random() % (places + 1)) - 1;
      // As the host counts: places in their order, choices in theirs.
      std::vector<std::int32_t> first_rows(places + 1, 0);
      for (const std::int32_t place : place_of_choice)
        for (std::int64_t p = place + 1; place >= 0 && p <= places; ++p) ++first_rows[static_cast<std::size_t>(p)];
      std::vector<std::int64_t> next(first_rows.begin(), first_rows.end() - 1);
      if (packing == RowPacking::capacity)
        for (std::int64_t p = 0; p < places; ++p) next[static_cast<std::size_t>(p)] = p * capacity;
      std::vector<std::int32_t> row_of(place_of_choice.size(), -1);
      std::vector<std::int32_t> selected(places * capacity, -7);
      for (std::size_t i = 0; i < place_of_choice.size(); ++i) {
        if (place_of_choice[i] < 0) continue;
        const std::int64_t row = next[static_cast<std::size_t>(place_of_choice[i])]++;
        row_of[i] = static_cast<std::int32_t>(row);
        selected[static_cast<std::size_t>(row)] = static_cast<std::int32_t>(static_cast<std::int64_t>(i) / top_k);
      }
      const auto input = on_device(place_of_choice);
      const DeviceArray<std::int32_t> firsts(places + 1);
      const DeviceArray<std::int32_t> counts(places);
      const DeviceArray<std::int32_t> rows(place_of_choice.size());
      const auto tokens = on_device(std::vector<std::int32_t>(selected.size(), -7));
      order_rows(nullptr, packing, choices, top_k, places, capacity, input.data(), firsts.data(), counts.data(),
                 rows.data(), tokens.data());
      EXPECT_EQ(firsts.read(), first_rows);
      EXPECT_EQ(rows.read(), row_of);
      EXPECT_EQ(tokens.read(), selected);
    }
  }
}

TEST(OrderRows, HasPlacesForMoreThanABlockOfThreads) {
  FORETOKEN_NEED_GPU();
  constexpr std::int64_t places = 1'000;
  std::vector<std::int32_t> place_of_choice(3'000);
  for (std::size_t i = 0; i < place_of_choice.size(); ++i)
    place_of_choice[i] = static_cast<std::int32_t>(i * 7 % places);
  std::vector<std::int32_t> first_rows;  // each place has three
  for (std::int32_t place = 0; place <= places; ++place) first_rows.push_back(3 * place);
  const auto input = on_device(place_of_choice);
  const DeviceArray<std::int32_t> firsts(places + 1);
  const DeviceArray<std::int32_t> counts(places);
  const DeviceArray<std::int32_t> rows(place_of_choice.size());
  const DeviceArray<std::int32_t> tokens(place_of_choice.size());
  order_rows(nullptr, RowPacking::exact, 3'000, 1, places, 0, input.data(), firsts.data(), counts.data(), rows.data(),
             tokens.data());
  EXPECT_EQ(firsts.read(), first_rows);
  EXPECT_EQ(counts.read(), std::vector<std::int32_t>(places, 3));
}

TEST(OrderRows, TakesTheRoutersChoices) {
  FORETOKEN_NEED_GPU();
  // Two tokens with experts 2, 0 and 1, 2; the last expert is not here.
  const auto routes = on_device(Floats{2, 0, 0.75F, 0.25F, 1, 2, 0.5F, 0.5F});
  const auto places = on_device(std::vector<std::int32_t>{1, 0, -1});
  const DeviceArray<std::int32_t> experts(4);
  const DeviceArray<std::int32_t> place_of_choice(4);
  take_choices(nullptr, 2, 2, routes.data(), places.data(), experts.data(), place_of_choice.data());
  EXPECT_EQ(experts.read(), (std::vector<std::int32_t>{2, 0, 1, 2}));
  EXPECT_EQ(place_of_choice.read(), (std::vector<std::int32_t>{-1, 1, 0, -1}));
  const auto first_place = on_device(std::vector<std::int32_t>{0, 2, 2, 3});  // of three hosts
  const auto first_rows = on_device(std::vector<std::int32_t>{0, 5, 6, 9});
  const DeviceArray<std::int32_t> host_rows(4);
  first_rows_of_hosts(nullptr, 3, first_place.data(), first_rows.data(), host_rows.data());
  EXPECT_EQ(host_rows.read(), (std::vector<std::int32_t>{0, 6, 6, 9}));
}

// Counts out of headers and into them, at blocks that are not aligned to numbers of 4 bytes.
TEST(Arrivals, AreReadFromHeadersAndSorted) {
  FORETOKEN_NEED_GPU();
  constexpr std::int64_t hosts = 3;
  constexpr std::int64_t block = 22;
  const auto first_place = on_device(std::vector<std::int32_t>{0, 2, 2, 5});
  const auto counts = on_device(std::vector<std::int32_t>{4, 70'000, 1, 2, 3});
  const DeviceArray<std::byte> blocks(hosts * block);
  write_headers(nullptr, hosts, 5, first_place.data(), counts.data(), block, blocks.data());
  const std::vector<std::byte> written = blocks.read();
  EXPECT_EQ(number_at(written.data() + 4), 70'000);
  EXPECT_EQ(number_at(written.data() + 2 * block + 8), 3);

  for (const Arrivals arrivals : {Arrivals{3, 4}, Arrivals{70, 9}, Arrivals{1, 1}}) {
    std::mt19937 random(2);
    std::vector<std::byte> headers(static_cast<std::size_t>(arrivals.sources * 38));
    std::vector<std::int32_t> arrived;
    for (std::int64_t pair = 0; pair < arrivals.pairs(); ++pair) {
      arrived.push_back(static_cast<std::int32_t>(random() % 400));
      put_number(arrived.back(), headers.data() + pair / arrivals.experts * 38 + pair % arrivals.experts * 4);
    }
    // Blocks of pairs, first in order of arrival, then by expert.
    std::vector<std::int32_t> source_rows;
    std::vector<std::int32_t> first;
    std::int32_t all = 0;
    for (std::int64_t pair = 0; pair < arrivals.pairs(); ++pair) {
      if (pair % arrivals.experts == 0) source_rows.push_back(all);
      first.push_back(all);
      all += arrived[static_cast<std::size_t>(pair)];
    }
    source_rows.push_back(all);
    std::vector<std::int32_t> expert_rows;
    std::vector<std::int32_t> sorted;
    for (std::int64_t expert = 0; expert < arrivals.experts; ++expert) {
      expert_rows.push_back(static_cast<std::int32_t>(sorted.size()));
      for (std::int64_t source = 0; source < arrivals.sources; ++source) {
        const auto pair = static_cast<std::size_t>(source * arrivals.experts + expert);
        for (std::int32_t i = 0; i < arrived[pair]; ++i) sorted.push_back(first[pair] + i);
      }
    }
    expert_rows.push_back(all);
    const auto came = on_device(headers);
    const DeviceArray<std::int32_t> read(arrived.size());
    const DeviceArray<std::int32_t> sources(source_rows.size());
    const DeviceArray<std::int32_t> experts(expert_rows.size());
    const DeviceArray<std::int32_t> order(sorted.size());
    const DeviceArray<std::int32_t> room(2 * arrived.size());
    read_headers(nullptr, arrivals, 38, came.data(), read.data());
    EXPECT_EQ(read.read(), arrived);
    sort_arrivals(nullptr, arrivals, read.data(), sources.data(), experts.data(), order.data(), room.data());
    EXPECT_EQ(sources.read(), source_rows);
    EXPECT_EQ(experts.read(), expert_rows);
    EXPECT_EQ(order.read(), sorted);
  }
}

INSTANTIATE_TEST_SUITE_P(Types, RoutedKernels, element_types(), name_of_type);

}  // namespace
}  // namespace foretoken::test
