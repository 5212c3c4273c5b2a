#include "tools/planning/recommend.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <thread>
#include <tuple>
#include <utility>

#include "core/error.hpp"
#include "tools/planning/work.hpp"

namespace foretoken::planning {
namespace {

constexpr std::size_t kWave = 2;  // simulations at a time, on any number of cores: then the search is the same

void on_all_cores(std::size_t count, const std::function<void(std::size_t)>& work) {
  std::vector<std::size_t> all(count);
  for (std::size_t i = 0; i < count; ++i) all[i] = i;
  work_on_threads(
      all, std::thread::hardware_concurrency(),
      [&](std::size_t i) {
        work(i);
        return std::string();
      },
      [](std::size_t, const std::string&) {});
}

/// Runs `work` on a row; what cannot be is its reason.
template <class Work>
void attempt(Row& row, const Work& work) {
  try {
    work();
  } catch (const Error& error) {
    if (error.code() != ErrorCode::invalid_input) throw;
    row.fate = Fate::not_simulated;
    row.reason = error.what();
  }
}

/// The largest batch of a deployment that fits, and bounds of those up to it. Memory grows with the batch, and a
/// program has to be made to know it: so it is asked of few.
void look_at(const EstimateBasis& basis, Row* first, std::size_t batches) {
  std::vector<Row*> rows;
  for (std::size_t b = 0; b < batches; ++b) rows.push_back(first + b);
  std::size_t fitting = 0;
  for (std::size_t end = rows.size(); fitting < end;) {
    const std::size_t middle = (fitting + end) / 2;
    Row& row = *rows[middle];
    attempt(row, [&] { row.memory = memory_of(basis, row.candidate); });
    if (row.fate == Fate::not_simulated) {
      rows.erase(rows.begin() + static_cast<std::ptrdiff_t>(middle));
      --end;
    } else if (row.memory.total() > row.memory.device) {
      end = middle;
    } else {
      fitting = middle + 1;
    }
  }
  for (std::size_t i = 0; i < rows.size(); ++i) {
    Row& row = *rows[i];
    if (i >= fitting) row.fate = Fate::no_memory;
    else attempt(row, [&] { row.bound_ms = tpot_bound(basis, row.candidate).value() * 1e3; });
  }
}

void simulate_row(const EstimateBasis& basis, Row& row) {
  row.figures = estimate(basis, row.candidate);
  if (row.memory.device == 0) row.memory = memory_of(basis, row.candidate);
  row.figures.memory = row.memory;
  row.fate = Fate::simulated;
}

bool keeps(const PointFigures& figures, const Objective& objective) {
  return (!objective.tpot || figures.tpot_ms_mean <= objective.tpot->value() * 1e3) &&
         (!objective.rate || figures.tps >= *objective.rate);
}

class Search {
 public:
  Search(const EstimateBasis& basis, const SearchOptions& options, Recommendation& result)
      : basis_(basis), options_(options), result_(result) {}

  void run() {
    std::vector<std::size_t> order;
    for (std::size_t i = 0; i < result_.rows.size(); ++i)
      if (result_.rows[i].fate == Fate::left) order.push_back(i);
    // Largest batches first, as they rule out smaller ones; of one batch the lowest bound first.
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
      const Row& x = result_.rows[a];
      const Row& y = result_.rows[b];
      return std::pair(-x.candidate.batch, x.bound_ms) < std::pair(-y.candidate.batch, y.bound_ms);
    });
    std::vector<std::size_t> wave;
    for (const std::size_t i : order) {
      if (options_.prune && excluded(result_.rows[i])) {
        result_.rows[i].fate = Fate::bound;
        continue;
      }
      if (result_.simulated + wave.size() >= options_.simulations_max) continue;
      wave.push_back(i);
      if (wave.size() == kWave) simulate(wave);
    }
    simulate(wave);
    // What came before may be ruled out by what came after.
    for (const std::size_t i : order) {
      Row& row = result_.rows[i];
      if (row.fate == Fate::left && options_.prune && excluded(row)) row.fate = Fate::bound;
      if (row.fate == Fate::left) ++result_.left;
    }
  }

 private:
  [[nodiscard]] bool excluded(const Row& row) const {
    const Objective& objective = options_.objective;
    const double bound = row.bound_ms;
    if (objective.tpot && bound > objective.tpot->value() * 1e3) return true;
    const auto sequences = static_cast<double>(row.candidate.sequences());
    if (objective.rate && sequences / (bound / 1e3) < *objective.rate) return true;
    return std::any_of(best_.begin(), best_.end(),
                       [&](const auto& known) { return known.first >= row.candidate.batch && known.second <= bound; });
  }

  void simulate(std::vector<std::size_t>& wave) {
    on_all_cores(wave.size(), [&](std::size_t w) {
      Row& row = result_.rows[wave[w]];
      attempt(row, [&] { simulate_row(basis_, row); });
    });
    for (const std::size_t i : wave) {
      Row& row = result_.rows[i];
      ++result_.simulated;
      if (row.fate != Fate::simulated) continue;
      row.keeps = keeps(row.figures, options_.objective);
      if (!row.keeps) continue;
      const auto known = best_.find(row.candidate.batch);
      if (known == best_.end()) best_[row.candidate.batch] = row.figures.tpot_ms_mean;
      else known->second = std::min(known->second, row.figures.tpot_ms_mean);
    }
    wave.clear();
    if (options_.progress) options_.progress(result_.simulated, result_.rows.size());
  }

  const EstimateBasis& basis_;
  const SearchOptions& options_;
  Recommendation& result_;
  std::map<std::int64_t, double> best_;  // by batch: TPOT, of what keeps the objective
};

void find_front(Recommendation& result) {
  std::vector<std::size_t> kept;
  for (std::size_t i = 0; i < result.rows.size(); ++i)
    if (result.rows[i].keeps) kept.push_back(i);
  const auto figures = [&](std::size_t i) -> const PointFigures& { return result.rows[i].figures; };
  std::stable_sort(kept.begin(), kept.end(), [&](std::size_t a, std::size_t b) {
    return std::pair(figures(a).tps_per_gpu(), figures(a).tps_per_user()) >
           std::pair(figures(b).tps_per_gpu(), figures(b).tps_per_user());
  });
  double best_per_user = 0;
  for (const std::size_t i : kept) {
    if (figures(i).tps_per_user() <= best_per_user) continue;
    best_per_user = figures(i).tps_per_user();
    result.rows[i].on_front = true;
    result.front.push_back(i);
  }
  if (!result.front.empty()) result.best = result.front.front();
}

void find_nearest(Recommendation& result, const Objective& objective) {
  const auto pick = [&](Fate fate, const auto& figure) {
    for (std::size_t i = 0; i < result.rows.size(); ++i) {
      const Row& row = result.rows[i];
      if (row.fate != fate || (fate == Fate::no_memory && row.memory.device == 0)) continue;
      if (!result.nearest || figure(row) < figure(result.rows[*result.nearest])) result.nearest = i;
    }
  };
  pick(Fate::simulated, [&](const Row& row) { return objective.tpot ? row.figures.tpot_ms_mean : -row.figures.tps; });
  if (!result.nearest) pick(Fate::no_memory, [](const Row& row) { return row.memory.total(); });
}

}  // namespace

Recommendation recommend(const EstimateBasis& basis, std::int64_t gpus, std::int64_t gpus_per_node,
                         const SearchOptions& options) {
  Recommendation result;
  const plan::ModelSpec model = [&] {
    Candidate plain;  // of any shape: only its model is looked at
    plain.dp = gpus;
    plain.ep = 1;
    return scenario_of(basis, plain).model;
  }();
  const std::vector<Candidate> all = deployments(model, gpus, gpus_per_node, options.space);
  const std::vector<std::int64_t>& batches = options.space.batches;
  for (Candidate candidate : all)
    for (const std::int64_t batch : batches) {
      candidate.batch = batch;
      result.rows.push_back({});
      result.rows.back().candidate = candidate;
    }
  on_all_cores(all.size(), [&](std::size_t d) { look_at(basis, &result.rows[d * batches.size()], batches.size()); });
  Search(basis, options, result).run();
  // Nothing keeps the objective, and bounds left nothing to show: what comes nearest is simulated for the answer.
  find_front(result);
  if (!result.best) {
    const bool any =
        std::any_of(result.rows.begin(), result.rows.end(), [](const Row& row) { return row.fate == Fate::simulated; });
    if (!any) {
      Row* lowest = nullptr;
      for (Row& row : result.rows)
        if (row.fate == Fate::bound && (lowest == nullptr || row.bound_ms < lowest->bound_ms)) lowest = &row;
      if (lowest != nullptr)
        attempt(*lowest, [&] {
          simulate_row(basis, *lowest);
          ++result.simulated;
        });
    }
    find_nearest(result, options.objective);
  }
  return result;
}

std::vector<std::size_t> neighbours_of(const Recommendation& recommendation, std::size_t row) {
  const auto own = recommendation.rows[row].candidate.choices();
  std::vector<std::int64_t> batches;
  for (const Row& other : recommendation.rows) batches.push_back(other.candidate.batch);
  std::sort(batches.begin(), batches.end());
  batches.erase(std::unique(batches.begin(), batches.end()), batches.end());
  const auto place = [&](const Candidate& candidate) {
    return std::lower_bound(batches.begin(), batches.end(), candidate.batch) - batches.begin();
  };
  std::vector<std::size_t> found;
  for (std::size_t i = 0; i < recommendation.rows.size(); ++i) {
    const Candidate& candidate = recommendation.rows[i].candidate;
    const auto choices = candidate.choices();
    std::size_t different = 0;
    for (std::size_t c = 0; c < choices.size(); ++c) different += choices[c].second != own[c].second ? 1 : 0;
    // EP goes with placement and exchange, overlap with micro-batches: a choice may bring another along.
    const bool batch_differs = choices.back().second != own.back().second;
    if (i == row || different == 0) continue;
    const auto steps = place(candidate) - place(recommendation.rows[row].candidate);
    if (batch_differs ? different == 1 && (steps == 1 || steps == -1) : different == 1) found.push_back(i);
  }
  return found;
}

}  // namespace foretoken::planning
