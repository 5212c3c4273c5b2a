#include "plan/program/resolve.hpp"

#include <algorithm>

#include "core/error.hpp"

namespace foretoken::plan {
namespace {

// Row counts and pairs that may be remembered at once: 16 bytes each at most, so 256 MB.
constexpr std::size_t kCachedNumbersMax = std::size_t{16} << 20;

// The tokens that a rank of a `dispatch` exchange is the source of.
Range tokens_of(const Placement& placement, RankId rank, std::int64_t micro_batch) {
  return placement.slice(placement.replica_of(rank), micro_batch, placement.tp_index_of(rank));
}

}  // namespace

RowCounter::RowCounter(const Placement& placement, const Routing& routing, std::int64_t experts)
    : placement_(placement), routing_(routing), experts_(experts) {}

const RoutedRows& RowCounter::rows(std::int64_t routed_step, std::int64_t layer, std::int64_t micro_batch,
                                   std::int64_t chunk, std::int64_t instance) {
  const auto key = std::make_tuple(routed_step, layer, micro_batch, chunk, instance);
  if (const auto found = cache_.find(key); found != cache_.end()) return found->second;

  const DeploymentSpec& deployment = placement_.deployment();
  FORETOKEN_CHECK(instance >= 0 && instance < deployment.ranks() / deployment.ep, "no such expert-group instance");
  RoutedRows routed;
  routed.rows_of_expert.assign(static_cast<std::size_t>(experts_), 0);
  std::vector<std::int32_t> chosen(static_cast<std::size_t>(routing_.top_k()));
  const auto first = static_cast<std::int32_t>(instance * deployment.ep);

  if (deployment.exchange == ExpertExchange::all_reduce) {
    FORETOKEN_CHECK(chunk == -1, "chunks without a dispatch");
    const Range tokens = placement_.sequences(placement_.replica_of(RankId(first)), micro_batch);
    for (std::int64_t token = tokens.begin; token < tokens.end; ++token) {
      routing_.experts_of(routed_step, layer, token, chosen);
      for (const std::int32_t expert : chosen) ++routed.rows_of_expert[static_cast<std::size_t>(expert)];
    }
  } else {
    const Range sources = chunk == -1 ? Range{0, deployment.ep} : placement_.chunk_sources(chunk);
    std::vector<std::int64_t> rows_to(static_cast<std::size_t>(deployment.ep), 0);
    std::vector<std::int32_t> hosts;  // with rows from this source
    for (std::int64_t source = sources.begin; source < sources.end; ++source) {
      const Range tokens = tokens_of(placement_, RankId(static_cast<std::int32_t>(first + source)), micro_batch);
      for (std::int64_t token = tokens.begin; token < tokens.end; ++token) {
        routing_.experts_of(routed_step, layer, token, chosen);
        for (const std::int32_t expert : chosen) {
          ++routed.rows_of_expert[static_cast<std::size_t>(expert)];
          const std::int32_t host = placement_.host_of(layer, expert);
          if (rows_to[static_cast<std::size_t>(host)]++ == 0) hosts.push_back(host);
        }
      }
      std::sort(hosts.begin(), hosts.end());
      for (const std::int32_t host : hosts) {
        std::int64_t& rows = rows_to[static_cast<std::size_t>(host)];
        routed.pairs.push_back({static_cast<std::int32_t>(source), host, rows});
        rows = 0;
      }
      hosts.clear();
    }
  }

  const std::size_t numbers = routed.rows_of_expert.size() + routed.pairs.size();
  if (cached_numbers_ + numbers > kCachedNumbersMax) {
    cache_.clear();
    cached_numbers_ = 0;
  }
  cached_numbers_ += numbers;
  return cache_.emplace(key, std::move(routed)).first->second;
}

std::vector<std::int64_t> RowCounter::local_rows(RankId rank, const Extent& extent, std::int64_t routed_step) {
  FORETOKEN_CHECK(extent.kind == Extent::Kind::routed, "rows per expert of an extent that routing does not decide");
  const std::int64_t instance = rank.value() / placement_.deployment().ep;
  const RoutedRows& all = rows(routed_step, extent.layer, extent.micro_batch, extent.chunk, instance);
  const auto experts = placement_.experts_on(extent.layer, placement_.ep_index_of(rank));
  std::vector<std::int64_t> local;
  local.reserve(experts.size());
  for (const std::int32_t expert : experts) local.push_back(all.rows_of_expert[static_cast<std::size_t>(expert)]);
  return local;
}

}  // namespace foretoken::plan
