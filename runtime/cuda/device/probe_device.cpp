#include "runtime/cuda/probe_device.hpp"

#include <cuda_runtime_api.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <optional>
#include <utility>

#include "core/error.hpp"
#include "runtime/cuda/device/cuda_check.hpp"
#include "runtime/cuda/device/gpu.hpp"
#include "runtime/cuda/device/nvml.hpp"
#include "runtime/cuda/device/probe_messages.hpp"
#include "runtime/cuda/device/probe_work.hpp"
#include "runtime/cuda/device/timed_events.hpp"
#include "runtime/cuda/device/watchdog.hpp"
#include "runtime/machine_identity.hpp"
#ifdef FORETOKEN_MPI
#include "runtime/cuda/device/mpi_bootstrap.hpp"
#endif

namespace foretoken::runtime::cuda {
namespace {

using std::chrono::steady_clock;

// A batch that takes longer hangs: the largest message of the slowest link takes some ten milliseconds.
constexpr std::chrono::seconds kBatchMax{120};
// Others may be preparing, at a first repetition, or at some batches, and may take that long for each: whose call hangs
// ends first, and is named.
constexpr std::chrono::seconds kWaitMax{5 * kBatchMax};
// What computes while a message is measured beside it.
constexpr GemmProbe kBeside{DType::bf16, 4096, 4096, 4096};
constexpr double kBesideMargin = 2;
constexpr int kMulticastSupported = 132;  // CU_DEVICE_ATTRIBUTE_MULTICAST_SUPPORTED

// The driver's own function, found through the runtime: the driver is never linked.
bool can_multicast(int device) {
  using GetAttribute = int (*)(int*, int, int);
  void* found = nullptr;
  constexpr unsigned since = 12'000;
  cudaDriverEntryPointQueryResult status{};
  if (cudaGetDriverEntryPointByVersion("cuDeviceGetAttribute", &found, since, cudaEnableDefault, &status) !=
          cudaSuccess ||
      status != cudaDriverEntryPointSuccess || found == nullptr) {
    static_cast<void>(cudaGetLastError());
    return false;
  }
  int value = 0;
  return reinterpret_cast<GetAttribute>(found)(&value, kMulticastSupported, device) == 0 && value != 0;
}

int attribute(cudaDeviceAttr which) {
  int device = 0;
  int value = 0;
  check_cuda(cudaGetDevice(&device), "cudaGetDevice");
  check_cuda(cudaDeviceGetAttribute(&value, which, device), "cudaDeviceGetAttribute");
  return value;
}

double seconds_since(steady_clock::time_point begin) {
  return std::chrono::duration<double>(steady_clock::now() - begin).count();
}

class Stream {
 public:
  explicit Stream(bool first) {
    int least = 0;
    int greatest = 0;
    check_cuda(cudaDeviceGetStreamPriorityRange(&least, &greatest), "cudaDeviceGetStreamPriorityRange");
    check_cuda(cudaStreamCreateWithPriority(&stream_, cudaStreamNonBlocking, first ? greatest : least),
               "cudaStreamCreateWithPriority");
  }
  ~Stream() { cudaStreamDestroy(stream_); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  [[nodiscard]] cudaStream_t get() const { return stream_; }
  void wait() const { check_cuda(cudaStreamSynchronize(stream_), "cudaStreamSynchronize"); }

 private:
  cudaStream_t stream_ = nullptr;
};

// Work repeated in one graph.
class RepeatedGraph {
 public:
  RepeatedGraph(cudaStream_t stream, std::int64_t repetitions, const ProbeWork::Repeat& work) {
    check_cuda(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
    for (std::int64_t i = 0; i < repetitions; ++i) work(i, stream);
    check_cuda(cudaStreamEndCapture(stream, &graph_), "cudaStreamEndCapture");
    check_cuda(cudaGraphInstantiate(&executable_, graph_, 0), "cudaGraphInstantiate");
    check_cuda(cudaGraphUpload(executable_, stream), "cudaGraphUpload");
  }
  ~RepeatedGraph() {
    if (executable_ != nullptr) cudaGraphExecDestroy(executable_);
    if (graph_ != nullptr) cudaGraphDestroy(graph_);
  }
  RepeatedGraph(const RepeatedGraph&) = delete;
  RepeatedGraph& operator=(const RepeatedGraph&) = delete;
  void launch(cudaStream_t stream) const { check_cuda(cudaGraphLaunch(executable_, stream), "cudaGraphLaunch"); }

 private:
  cudaGraph_t graph_ = nullptr;
  cudaGraphExec_t executable_ = nullptr;
};

class CudaProbeDevice final : public ProbeDevice {
 public:
  CudaProbeDevice(Bootstrap& bootstrap, ProbedMachine machine)
      : bootstrap_(bootstrap),
        machine_(std::move(machine)),
        watchdog_([] { end_with("a call of CUDA or NCCL has not come back while the GPUs were measured"); }),
        compute_(false),
        communication_(true),
        begin_(true),
        end_(true),
        work_(gemm_, attribute(cudaDevAttrL2CacheSize), machine_.gpu.multiprocessors) {
    machine_.blas = gemm_.version();
    sampler_.emplace(machine_.gpu.pci);
    std::vector<std::string> hosts;
    const std::string host = this_machine().host;
    for (const Bootstrap::Bytes& bytes : bootstrap_.all_gather({host.begin(), host.end()}))
      hosts.emplace_back(bytes.begin(), bytes.end());
    if (bootstrap_.ranks() == 1) return;
    messages_ = std::make_unique<ProbeMessages>(bootstrap_, LaunchLayout::of(hosts));
    machine_.nccl = messages_->version();
  }

  [[nodiscard]] const ProbedMachine& machine() const override { return machine_; }

  void connect(const std::string& algorithm, const std::vector<MessageProbe>& probes) override {
    watchdog_.feed(kBatchMax);
    FORETOKEN_CHECK(messages_ != nullptr, "messages need a launch of several ranks");
    messages_->connect(algorithm, probes);
    watchdog_.feed(kBatchMax);
  }

  void connect_all() override {
    watchdog_.feed(kBatchMax);
    FORETOKEN_CHECK(messages_ != nullptr, "messages need a launch of several ranks");
    messages_->connect_all();
    watchdog_.feed(kBatchMax);
  }

  void prepare(const Probe& probe) override {
    graph_.reset();
    repeat_ = {};
    takes_part_ = true;
    probe_ = probe;
    watchdog_.feed(kBatchMax);
    if (const auto* const launch = std::get_if<LaunchProbe>(&probe)) {
      repeat_ = launch->on_device ? work_.longer() : work_.tiny();
    } else if (const auto* const message = std::get_if<MessageProbe>(&probe)) {
      takes_part_ = messages_->prepare(*message);
      if (message->beside_gemm) product_ = work_.make(kBeside);
      repeat_ = [this](std::int64_t /*repetition*/, cudaStream_t stream) { messages_->queue(stream); };
    } else if (const auto* const pair = std::get_if<PairProbe>(&probe)) {
      takes_part_ = messages_->prepare(*pair);
      repeat_ = [this](std::int64_t /*repetition*/, cudaStream_t stream) { messages_->queue(stream); };
    } else {
      repeat_ = work_.make(probe);
    }
    check_cuda(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
  }

  Seconds run(std::int64_t repetitions) override {
    watchdog_.feed(kBatchMax);
    if (!takes_part_) return Seconds(0);
    sampler_->sample();
    const double seconds = run_now(repetitions);
    sampler_->sample();
    if (std::holds_alternative<MessageProbe>(probe_) || std::holds_alternative<PairProbe>(probe_)) messages_->poll();
    return Seconds(seconds);
  }

  void wait() override { watchdog_.feed(kWaitMax); }

  GpuConditions conditions() override {
    const GpuConditions found = sampler_->conditions();
    sampler_.emplace(machine_.gpu.pci);
    return found;
  }

 private:
  [[noreturn]] static void end_with(const std::string& what) {
    const std::string line = fmt::format("foretoken: on {}: {}\n", this_machine().host, what);
    static_cast<void>(!::write(STDERR_FILENO, line.data(), line.size()));
    _exit(static_cast<int>(ErrorCode::rank_failed));
  }

  double run_now(std::int64_t repetitions) {
    if (const auto* const launch = std::get_if<LaunchProbe>(&probe_)) return launch_all(*launch, repetitions);
    if (const auto* const message = std::get_if<MessageProbe>(&probe_)) {
      if (message->beside_gemm) return beside(repetitions);
      return in_graph(communication_.get(), repetitions, true);
    }
    if (std::holds_alternative<PairProbe>(probe_)) return in_graph(communication_.get(), repetitions, true);
    return in_graph(compute_.get(), repetitions, false);
  }

  [[nodiscard]] double between_events() const {
    float milliseconds = 0;
    check_cuda(cudaEventElapsedTime(&milliseconds, begin_.get(), end_.get()), "cudaEventElapsedTime");
    return static_cast<double>(milliseconds) * 1e-3;
  }

  // Libraries load and connect when a call is first made, which no graph may have in it.
  double in_graph(cudaStream_t stream, std::int64_t repetitions, bool meet) {
    if (!graph_ || captured_ != repetitions) {
      if (!graph_) repeat_(0, stream);
      check_cuda(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
      graph_ = std::make_unique<RepeatedGraph>(stream, repetitions, repeat_);
      captured_ = repetitions;
      graph_->launch(stream);
    }
    // One message more, before the time begins: when it has come, all ranks are there.
    if (meet) repeat_(0, stream);
    check_cuda(cudaEventRecord(begin_.get(), stream), "cudaEventRecord");
    graph_->launch(stream);
    check_cuda(cudaEventRecord(end_.get(), stream), "cudaEventRecord");
    check_cuda(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
    return between_events();
  }

  double launch_all(const LaunchProbe& launch, std::int64_t repetitions) {
    cudaStream_t const stream = compute_.get();
    if (launch.graph && !graph_) graph_ = std::make_unique<RepeatedGraph>(stream, launch.kernels, repeat_);
    double seconds = 0;
    for (std::int64_t i = 0; i <= repetitions; ++i) {
      check_cuda(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
      check_cuda(cudaEventRecord(begin_.get(), stream), "cudaEventRecord");
      const auto launched = steady_clock::now();
      if (launch.graph) graph_->launch(stream);
      else
        for (std::int64_t k = 0; k < launch.kernels; ++k) repeat_(k, stream);
      const double host = seconds_since(launched);
      check_cuda(cudaEventRecord(end_.get(), stream), "cudaEventRecord");
      check_cuda(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
      if (i == 0) continue;  // the first of a batch wakes the device
      if (launch.on_device) seconds += between_events() / static_cast<double>(launch.kernels);
      else seconds += launch.graph ? host : host / static_cast<double>(launch.kernels);
    }
    return seconds;
  }

  // Products begin first, and are enough to last until the messages have come.
  double beside(std::int64_t repetitions) {
    const auto timed = [&](cudaStream_t stream, const auto& queue) {
      check_cuda(cudaEventRecord(begin_.get(), stream), "cudaEventRecord");
      queue();
      check_cuda(cudaEventRecord(end_.get(), stream), "cudaEventRecord");
      check_cuda(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
      return between_events();
    };
    cudaStream_t const messages = communication_.get();
    repeat_(0, messages);
    product_(0, compute_.get());
    const double message = timed(messages, [&] {
      for (std::int64_t i = 0; i < repetitions; ++i) repeat_(i, messages);
    });
    compute_.wait();
    const double product = timed(compute_.get(), [&] { product_(0, compute_.get()); });
    const auto products = static_cast<std::int64_t>(std::ceil(kBesideMargin * message / product)) + 2;
    for (std::int64_t i = 0; i < products; ++i) product_(i, compute_.get());
    repeat_(0, messages);
    const double found = timed(messages, [&] {
      for (std::int64_t i = 0; i < repetitions; ++i) repeat_(i, messages);
    });
    compute_.wait();
    return found;
  }

  Bootstrap& bootstrap_;
  ProbedMachine machine_;
  Watchdog watchdog_;
  Gemm gemm_;
  Stream compute_;
  Stream communication_;
  CudaEvent begin_;
  CudaEvent end_;
  ProbeWork work_;
  std::unique_ptr<ProbeMessages> messages_;
  std::optional<ConditionSampler> sampler_;
  Probe probe_;
  ProbeWork::Repeat repeat_;
  ProbeWork::Repeat product_;
  std::unique_ptr<RepeatedGraph> graph_;
  std::int64_t captured_ = 0;
  bool takes_part_ = true;
};

std::vector<std::string> tell_all(Bootstrap& bootstrap, const std::string& own) {
  std::vector<std::string> all;
  for (const Bootstrap::Bytes& bytes : bootstrap.all_gather({own.begin(), own.end()}))
    all.emplace_back(bytes.begin(), bytes.end());
  return all;
}

}  // namespace

std::unique_ptr<ProbeDevice> open_probe_device(Bootstrap& bootstrap, ProbedMessages messages) {
  ProbedMachine machine;
  std::string refused;
  const bool shared = gpus_may_be_shared();
  try {
    if (messages == ProbedMessages::every_algorithm && bootstrap.ranks() > 1) ProbeMessages::require_free_choice();
    machine.gpu = take_gpu(bootstrap.rank_on_node(), shared);
    machine.driver = driver_version();
    int device = 0;
    check_cuda(cudaGetDevice(&device), "cudaGetDevice");
    machine.multicast = can_multicast(device);
  } catch (const Error& error) {
    refused = error.what();
  }
  // What one rank lacks, all are told.
  for (const std::string& why : tell_all(bootstrap, refused))
    if (!why.empty()) throw Error(ErrorCode::invalid_input, why);
  std::vector<std::string> uuids = tell_all(bootstrap, machine.gpu.uuid);
  std::sort(uuids.begin(), uuids.end());
  const auto twice = std::adjacent_find(uuids.begin(), uuids.end());
  if (!shared && twice != uuids.end())
    throw Error(ErrorCode::invalid_input,
                fmt::format("two ranks would be on one GPU ({}); start one process per GPU", *twice));
  // A switch that some GPUs cannot use is of no use.
  for (const std::string& can : tell_all(bootstrap, machine.multicast ? "yes" : "no"))
    machine.multicast &= can == "yes";
  return std::make_unique<CudaProbeDevice>(bootstrap, std::move(machine));
}

#ifdef FORETOKEN_MPI
std::unique_ptr<Bootstrap> open_mpi_bootstrap() { return std::make_unique<MpiBootstrap>(); }
#endif

}  // namespace foretoken::runtime::cuda
