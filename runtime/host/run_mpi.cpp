#include <fmt/format.h>
#include <mpi.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <exception>
#include <limits>
#include <optional>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "plan/host_limits.hpp"
#include "runtime/host/host_memory.hpp"
#include "runtime/host/mpi_check.hpp"
#include "runtime/host/mpi_communicator.hpp"
#include "runtime/host/mpi_doorbell.hpp"
#include "runtime/host/mpi_watch.hpp"
#include "runtime/machine_identity.hpp"
#include "runtime/rank_run.hpp"
#include "runtime/run.hpp"

namespace foretoken::runtime {
namespace {

using host::check_mpi;

// ---- do all mean the same? -----------------------------------------------------------------------------------------

struct Claim {
  std::array<char, 64> plan_hash{};
  std::array<char, 128> build{};
  std::array<char, 64> host{};
};

template <std::size_t N>
void set(std::array<char, N>& target, const std::string& text) {
  std::copy_n(text.begin(), std::min(text.size(), N - 1), target.begin());
}

// Every rank sees all claims, so all come to the same verdict. Returns the ranks on this host.
std::vector<RankId> check_agreement(const MpiProcess& mpi, const plan::Plan& plan, const RunOptions& options) {
  Claim own;
  // The plan is the same whatever number of steps is made of it; a run is not.
  const plan::MeasureSpec& measure = plan.scenario.measure;
  set(own.plan_hash, fmt::format("{}, {} + {} steps", plan.plan_hash, measure.warmup_steps, measure.steps));
  set(own.build, options.build);
  set(own.host, this_machine().host);
  std::vector<Claim> all(static_cast<std::size_t>(mpi.ranks()));
  check_mpi(MPI_Allgather(&own, sizeof own, MPI_BYTE, all.data(), sizeof own, MPI_BYTE, MPI_COMM_WORLD),
            "MPI_Allgather");
  for (std::size_t r = 1; r < all.size(); ++r) {
    if (all[r].build != all[0].build)
      throw Error(
          ErrorCode::invalid_input,
          fmt::format("rank {} on {} is another build ({}) than rank 0 on {} ({}); start the same program everywhere",
                      r, all[r].host.data(), all[r].build.data(), all[0].host.data(), all[0].build.data()));
    if (all[r].plan_hash != all[0].plan_hash)
      throw Error(
          ErrorCode::invalid_input,
          fmt::format("rank {} on {} has another plan ({}) than rank 0 on {} ({}); give all ranks the same scenario, "
                      "topology and --set",
                      r, all[r].host.data(), all[r].plan_hash.data(), all[0].host.data(), all[0].plan_hash.data()));
  }
  if (mpi.ranks() != plan.program.ranks)
    throw Error(ErrorCode::invalid_input,
                fmt::format("{}: the deployment has {} ranks, and {} processes were started; use mpirun -n {}",
                            plan.scenario.name, plan.program.ranks, mpi.ranks(), plan.program.ranks));
  std::vector<RankId> here;
  for (std::size_t r = 0; r < all.size(); ++r)
    if (all[r].host == own.host) here.emplace_back(r);
  return here;
}

// ---- records as bytes ----------------------------------------------------------------------------------------------

class Writer {
 public:
  template <class T>
  void numbers(const std::vector<T>& values) {
    number(static_cast<std::int64_t>(values.size()));
    append(values.data(), values.size() * sizeof(T));
  }
  void number(std::int64_t value) { append(&value, sizeof value); }
  void text(const std::string& value) { numbers(std::vector<char>(value.begin(), value.end())); }
  [[nodiscard]] const std::vector<char>& bytes() const { return bytes_; }

 private:
  void append(const void* data, std::size_t size) {
    const auto* const begin = static_cast<const char*>(data);
    bytes_.insert(bytes_.end(), begin, begin + size);
  }
  std::vector<char> bytes_;
};

class Reader {
 public:
  explicit Reader(std::span<const char> bytes) : bytes_(bytes) {}
  template <class T>
  std::vector<T> numbers() {
    std::vector<T> values(static_cast<std::size_t>(number()));
    take(values.data(), values.size() * sizeof(T));
    return values;
  }
  std::int64_t number() {
    std::int64_t value = 0;
    take(&value, sizeof value);
    return value;
  }
  std::string text() {
    const auto characters = numbers<char>();
    return {characters.begin(), characters.end()};
  }

 private:
  void take(void* target, std::size_t size) {
    FORETOKEN_CHECK(size <= bytes_.size(), "a rank's record is cut short");
    if (size > 0) std::memcpy(target, bytes_.data(), size);
    bytes_ = bytes_.subspan(size);
  }
  std::span<const char> bytes_;
};

std::vector<char> packed(const RankRecord& record) {
  Writer writer;
  writer.number(record.began);
  writer.number(record.instrumented_began);
  for (const auto* times : {&record.ends, &record.instrumented_ends, &record.events.posted, &record.events.begun,
                            &record.events.ended, &record.events.cpu})
    writer.numbers(*times);
  writer.number(static_cast<std::int64_t>(record.activations.size()));
  for (const Activations& one : record.activations) {
    writer.number(one.rank.value());
    writer.number(one.micro_batch);
    writer.number(one.sequences.begin);
    writer.number(one.sequences.end);
    writer.numbers(one.hidden);
  }
  writer.numbers(record.routes);
  const MachineIdentity& m = record.machine;
  for (const auto* text : {&m.host, &m.cpu, &m.kernel, &m.blas, &m.mpi}) writer.text(*text);
  writer.number(m.cores);
  return writer.bytes();
}

RankRecord unpacked(std::span<const char> bytes) {
  Reader reader(bytes);
  RankRecord record;
  record.began = reader.number();
  record.instrumented_began = reader.number();
  for (auto* times : {&record.ends, &record.instrumented_ends, &record.events.posted, &record.events.begun,
                      &record.events.ended, &record.events.cpu})
    *times = reader.numbers<std::int64_t>();
  record.activations.resize(static_cast<std::size_t>(reader.number()));
  for (Activations& one : record.activations) {
    one.rank = RankId(static_cast<std::int32_t>(reader.number()));
    one.micro_batch = reader.number();
    one.sequences.begin = reader.number();
    one.sequences.end = reader.number();
    one.hidden = reader.numbers<float>();
  }
  record.routes = reader.numbers<std::int32_t>();
  MachineIdentity& m = record.machine;
  for (auto* text : {&m.host, &m.cpu, &m.kernel, &m.blas, &m.mpi}) *text = reader.text();
  m.cores = reader.number();
  return record;
}

// One rank's record after the other, so that no count outgrows MPI's int.
std::vector<RankRecord> gather(const MpiProcess& mpi, RankRecord own) {
  constexpr int tag = 0;
  if (mpi.rank() != 0) {
    const std::vector<char> bytes = packed(own);
    FORETOKEN_CHECK(bytes.size() <= static_cast<std::size_t>(std::numeric_limits<int>::max()), "a record over 2 GiB");
    check_mpi(MPI_Send(bytes.data(), static_cast<int>(bytes.size()), MPI_BYTE, 0, tag, MPI_COMM_WORLD), "MPI_Send");
    return {};
  }
  std::vector<RankRecord> records(static_cast<std::size_t>(mpi.ranks()));
  records[0] = std::move(own);
  for (std::size_t r = 1; r < records.size(); ++r) {
    MPI_Status status;
    check_mpi(MPI_Probe(static_cast<int>(r), tag, MPI_COMM_WORLD, &status), "MPI_Probe");
    int size = 0;
    check_mpi(MPI_Get_count(&status, MPI_BYTE, &size), "MPI_Get_count");
    std::vector<char> bytes(static_cast<std::size_t>(size));
    check_mpi(MPI_Recv(bytes.data(), size, MPI_BYTE, static_cast<int>(r), tag, MPI_COMM_WORLD, MPI_STATUS_IGNORE),
              "MPI_Recv");
    records[r] = unpacked(bytes);
  }
  return records;
}

// ---- the run -------------------------------------------------------------------------------------------------------

std::string mpi_version() {
  char text[MPI_MAX_LIBRARY_VERSION_STRING] = "";
  int length = 0;
  check_mpi(MPI_Get_library_version(text, &length), "MPI_Get_library_version");
  const std::string all(text);
  return all.substr(0, all.find(','));
}

// Emulated nodes share the cores of one computer.
bool oversubscribed(std::int64_t all_ranks) {
  if (emulated_topology()) return static_cast<unsigned>(all_ranks) > std::thread::hardware_concurrency();
  MPI_Comm node = MPI_COMM_NULL;
  check_mpi(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node), "MPI_Comm_split_type");
  int ranks = 0;
  check_mpi(MPI_Comm_size(node, &ranks), "MPI_Comm_size");
  check_mpi(MPI_Comm_free(&node), "MPI_Comm_free");
  return static_cast<unsigned>(ranks) > std::thread::hardware_concurrency();
}

// A communicator of our own keeps the run's messages apart from everything else's.
class OwnComm {
 public:
  OwnComm() {
    check_mpi(MPI_Comm_dup(MPI_COMM_WORLD, &comm_), "MPI_Comm_dup");
    check_mpi(MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  }
  ~OwnComm() { MPI_Comm_free(&comm_); }
  OwnComm(const OwnComm&) = delete;
  OwnComm& operator=(const OwnComm&) = delete;
  [[nodiscard]] MPI_Comm get() const { return comm_; }

 private:
  MPI_Comm comm_ = MPI_COMM_NULL;
};

RankRecord run_rank(MpiProcess& mpi, const plan::Plan& plan, const RunOptions& options) {
  const RankId rank(static_cast<std::int32_t>(mpi.rank()));
  const OwnComm comm;
  std::optional<host::MpiDoorbell> doorbell;
  if (emulated_topology()) doorbell.emplace(comm.get());
  host::MpiCommunicator communicator(comm.get(), oversubscribed(mpi.ranks()), doorbell ? &*doorbell : nullptr);
  std::unique_ptr<RankRun> run;
  const auto fail = [&](const std::string& what) {
    mpi.end_all(Error(ErrorCode::rank_failed, fmt::format("rank {} on {} failed: {}; {}", mpi.rank(),
                                                          this_machine().host, what, mpi.watch().neighbours())));
  };
  const auto where = [&] { return run ? run->where() : std::string("while it was set up"); };
  try {
    run = std::make_unique<RankRun>(plan, rank, communicator, options, mpi.watch().progress());
    RankRecord record = run->run();
    record.machine.mpi = mpi_version();
    return record;
  } catch (const Error& error) {
    if (error.code() == ErrorCode::invalid_input || error.code() == ErrorCode::infeasible) mpi.end_all(error);
    // What the executor itself reports says where.
    if (error.code() == ErrorCode::rank_failed) fail(error.what());
    fail(fmt::format("{} ({})", error.what(), where()));
  } catch (const std::exception& error) {
    fail(fmt::format("{} ({})", error.what(), where()));
  }
  return {};
}

}  // namespace

std::optional<RunResult> run_mpi(MpiProcess& mpi, const plan::Plan& plan, const RunOptions& options) {
  const std::vector<RankId> ranks_here = check_agreement(mpi, plan, options);
  plan::require_host_can_run(plan);
  host::check_host_memory(plan, ranks_here);
  host::use_one_blas_thread();
  mpi.watch().set_describe([&plan](RankId rank, std::uint64_t progress) { return told_by(plan, rank, progress); });
  std::vector<RankRecord> records = gather(mpi, run_rank(mpi, plan, options));
  mpi.watch().set_describe({});
  if (mpi.rank() != 0) return std::nullopt;
  return put_together(plan, "mpi", std::move(records));
}

}  // namespace foretoken::runtime
