#include "runtime/cuda/device/cuda_executor.hpp"

#include <fmt/format.h>
#include <nvtx3/nvToolsExt.h>

#include <algorithm>
#include <span>
#include <thread>
#include <utility>

#include "core/error.hpp"
#include "plan/program/node_rows.hpp"
#include "runtime/cuda/device/cuda_check.hpp"
#include "runtime/cuda/limits.hpp"
#include "runtime/cuda/node_tables.hpp"

namespace foretoken::runtime::cuda {
namespace {

using std::chrono::steady_clock;

// Steps that are queued ahead: enough that the device never waits for the host, few enough that little is queued behind
// a failure.
constexpr std::size_t kWindow = 4;
constexpr std::chrono::microseconds kBetweenLooks{50};

// Names what the host does for profilers, as long as it lives.
class ProfilerRange {
 public:
  explicit ProfilerRange(const std::string& name) { nvtxRangePushA(name.c_str()); }
  ~ProfilerRange() { nvtxRangePop(); }
  ProfilerRange(const ProfilerRange&) = delete;
  ProfilerRange& operator=(const ProfilerRange&) = delete;
};

}  // namespace

CudaExecutor::CudaExecutor(const plan::Plan& plan, RankId rank, RowTables& tables, const NcclLowering& lowering,
                           CudaCompute& compute, NcclCommunicator* nccl, ExecutorOptions options)
    : plan_(plan),
      rank_(rank),
      role_(plan.program.role_of(rank)),
      tables_(tables),
      lowering_(lowering),
      compute_(compute),
      nccl_(nccl),
      options_(std::move(options)),
      captures_(captures_steps(plan)),
      window_(plan.scenario.execution && plan.scenario.execution->host_waits ? 1 : kWindow),
      routed_steps_(plan.routing.routed_steps()),
      order_(step_order(role_)),
      communications_(role_.ops.size()),
      awaited_(role_.ops.size()) {
  // Communication goes first where both could: it is short, and others wait for it.
  int least = 0;
  int greatest = 0;
  check_cuda(cudaDeviceGetStreamPriorityRange(&least, &greatest), "cudaDeviceGetStreamPriorityRange");
  for (const plan::Stream stream : order_.streams) {
    cudaStream_t made = nullptr;
    check_cuda(cudaStreamCreateWithPriority(&made, cudaStreamNonBlocking, stream == plan::kCompute ? least : greatest),
               "cudaStreamCreateWithPriority");
    streams_.push_back(made);
    joins_.emplace_back(false);
  }
  fork_.emplace_back(false);
  done_.resize(window_);
  for (auto& of_slot : done_)
    for (std::size_t s = 0; s < streams_.size(); ++s) of_slot.emplace_back(false);
  for (const QueuedOp& queued : order_.ops) {
    const plan::Op& op = role_.ops[queued.op.index()];
    if (queued.awaited)
      for (int parity = 0; parity < 2; ++parity) awaited_[queued.op.index()].emplace_back(false);
    if (!is_communication(op.kind)) continue;
    std::vector<NcclOperation>& all = communications_[queued.op.index()];
    const bool routed = op.kind == plan::OpKind::dispatch || op.kind == plan::OpKind::combine;
    const Slots slots = message_slots(plan, op);
    if (op.kind == plan::OpKind::exchange_counts) counted_.try_emplace({op.layer, op.micro_batch}, false);
    if (routed && host_counts(plan)) {
      all.emplace_back();
    } else if (slots.places > 0) {
      // What stays on its rank moves from block to block like all else.
      const std::vector<std::int64_t> blocks(static_cast<std::size_t>(slots.places), slots.block_rows);
      all.push_back(lowering.operation(rank, op, {blocks, blocks, {}, {}}));
    } else {
      for (std::int64_t step = 0; step < (routed ? routed_steps_ : 1); ++step)
        all.push_back(lowering.operation(rank, op, rows_of(tables, op, step)));
    }
    for (const NcclOperation& operation : all)
      FORETOKEN_CHECK(nccl_ != nullptr || operation.family < 0, op.name + " has messages, and there is no NCCL");
  }
}

CudaExecutor::~CudaExecutor() {
  discard_graphs();
  for (cudaStream_t stream : streams_) cudaStreamDestroy(stream);
}

// ---- queueing ------------------------------------------------------------------------------------------------------

void CudaExecutor::set_marks(bool all) {
  marks_ = {std::vector<std::int32_t>(role_.ops.size(), -1), std::vector<std::int32_t>(role_.ops.size(), -1), 0};
  for (std::size_t o = 0; o < role_.ops.size(); ++o) {
    if (all) marks_.begin[o] = static_cast<std::int32_t>(marks_.count++);
    if (all || role_.ops[o].kind == plan::OpKind::step_end) marks_.end[o] = static_cast<std::int32_t>(marks_.count++);
  }
}

// In a captured step events of other streams belong to the graph, marks do not.
void CudaExecutor::queue_op(const QueuedOp& queued, std::int64_t step, bool captured) {
  const std::size_t o = queued.op.index();
  const plan::Op& op = role_.ops[o];
  const ProfilerRange range(op.name);
  cudaStream_t const stream = streams_[queued.stream];
  const auto mark = [&](std::int32_t which) {
    if (which < 0 || !times_) return;
    check_cuda(cudaEventRecordWithFlags(times_->mark(step, static_cast<std::size_t>(which)), stream,
                                        captured ? cudaEventRecordExternal : cudaEventRecordDefault),
               "cudaEventRecordWithFlags");
  };
  if (op.kind == plan::OpKind::dispatch && host_counts(plan_)) wait_for_counts(op, step % routed_steps_);
  for (const plan::Dependency& wait : queued.waits) {
    if (wait.distance > step || (captured && wait.distance > 0)) continue;
    const std::size_t parity = static_cast<std::size_t>(step - wait.distance) % 2;
    check_cuda(cudaStreamWaitEvent(stream, awaited_[wait.op.index()][parity].get()), "cudaStreamWaitEvent");
  }
  mark(marks_.begin[o]);
  if (is_communication(op.kind)) {
    queue_communication(queued, step);
  } else {
    compute_.queue(queued.op, step % routed_steps_, queued.stream, stream);
  }
  mark(marks_.end[o]);
  if (queued.awaited)
    check_cuda(cudaEventRecord(awaited_[o][static_cast<std::size_t>(step) % 2].get(), stream), "cudaEventRecord");
}

void CudaExecutor::queue_communication(const QueuedOp& queued, std::int64_t step) {
  const plan::Op& op = role_.ops[queued.op.index()];
  const std::int64_t routed_step = step % routed_steps_;
  cudaStream_t const stream = streams_[queued.stream];
  const NcclOperation& operation = operation_of(queued.op.index(), routed_step);
  const CudaCompute::Ends ends = compute_.before_calls(op, routed_step, queued.stream, stream);
  const auto queue_calls = [&](std::span<const NcclCall> calls) {
    if (nccl_ != nullptr) {
      nccl_->queue(operation.family, calls, ends.from, ends.to, stream);
    } else {
      for (const NcclCall& copy : calls) queue_copy(copy, ends.from, ends.to, stream);
    }
  };
  const bool routed = op.kind == plan::OpKind::dispatch || op.kind == plan::OpKind::combine;
  if (routed && plan::sends_once_per_node(plan_)) {
    const NodeRounds rounds = node_rounds(operation);
    queue_calls(rounds.first);
    compute_.between_calls(op, routed_step, queued.stream, stream);
    queue_calls(rounds.second);
  } else {
    queue_calls(operation.calls);
  }
  compute_.after_calls(op, routed_step, queued.stream, stream);
  if (const auto counted = counted_.find({op.layer, op.micro_batch});
      op.kind == plan::OpKind::exchange_counts && counted != counted_.end())
    check_cuda(cudaEventRecord(counted->second.get(), stream), "cudaEventRecord");
}

const NcclOperation& CudaExecutor::operation_of(std::size_t op, std::int64_t routed_step) {
  std::vector<NcclOperation>& all = communications_[op];
  const plan::Op& what = role_.ops[op];
  if (host_counts(plan_) && (what.kind == plan::OpKind::dispatch || what.kind == plan::OpKind::combine))
    all.front() = lowering_.operation(rank_, what, rows_of(tables_, what, routed_step));
  return all[all.size() == 1 ? 0 : static_cast<std::size_t>(routed_step)];
}

// All ranks issue the exchange of counts before they wait for it, as runtime/recording has it too.
void CudaExecutor::wait_for_counts(const plan::Op& dispatch, std::int64_t routed_step) {
  cudaEvent_t const counted = counted_.at({dispatch.layer, dispatch.micro_batch}).get();
  const auto since = steady_clock::now();
  auto looked = since;
  cudaError_t state = cudaEventQuery(counted);
  for (; state == cudaErrorNotReady; state = cudaEventQuery(counted)) {
    if (steady_clock::now() - looked < kBetweenLooks) continue;  // the device stands still meanwhile: do not sleep
    looked = steady_clock::now();
    look_after(since, "no counts have come");
  }
  check_cuda(state, dispatch.name.c_str());
  compute_.routed_rows().learn(dispatch, routed_step);
}

void CudaExecutor::queue_step(std::int64_t step, bool captured) {
  for (const QueuedOp& queued : order_.ops) {
    // Tests make a rank fail here; while a step is captured nothing of it runs yet.
    if (options_.before_op && !captured) options_.before_op(step, role_.ops[queued.op.index()]);
    try {
      queue_op(queued, step, captured);
    } catch (const Error& error) {
      throw Error(error.code(),
                  fmt::format("{} (step {} at {})", error.what(), step, role_.ops[queued.op.index()].name));
    }
  }
}

// ---- graphs --------------------------------------------------------------------------------------------------------

// The other streams join the capture by an event of the first, and it ends when all have come back to it.
void CudaExecutor::capture(std::int64_t routed_step) {
  Graph made;
  check_cuda(cudaStreamBeginCapture(origin(), cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
  check_cuda(cudaEventRecord(fork_.front().get(), origin()), "cudaEventRecord");
  for (std::size_t s = 1; s < streams_.size(); ++s)
    check_cuda(cudaStreamWaitEvent(streams_[s], fork_.front().get()), "cudaStreamWaitEvent");
  queue_step(routed_step, true);
  for (std::size_t s = 1; s < streams_.size(); ++s) {
    check_cuda(cudaEventRecord(joins_[s].get(), streams_[s]), "cudaEventRecord");
    check_cuda(cudaStreamWaitEvent(origin(), joins_[s].get()), "cudaStreamWaitEvent");
  }
  check_cuda(cudaStreamEndCapture(origin(), &made.graph), "cudaStreamEndCapture");
  check_cuda(cudaGraphInstantiate(&made.executable, made.graph, 0), "cudaGraphInstantiate");

  // Marks are found again by the events that they were captured with.
  std::size_t count = 0;
  check_cuda(cudaGraphGetNodes(made.graph, nullptr, &count), "cudaGraphGetNodes");
  std::vector<cudaGraphNode_t> nodes(count);
  check_cuda(cudaGraphGetNodes(made.graph, nodes.data(), &count), "cudaGraphGetNodes");
  made.nodes.assign(marks_.count, nullptr);
  for (cudaGraphNode_t node : nodes) {
    cudaGraphNodeType type{};
    check_cuda(cudaGraphNodeGetType(node, &type), "cudaGraphNodeGetType");
    if (type != cudaGraphNodeTypeEventRecord) continue;
    cudaEvent_t event = nullptr;
    check_cuda(cudaGraphEventRecordNodeGetEvent(node, &event), "cudaGraphEventRecordNodeGetEvent");
    for (std::size_t m = 0; m < marks_.count; ++m)
      if (times_->mark(routed_step, m) == event) made.nodes[m] = node;
  }
  for (const cudaGraphNode_t node : made.nodes)
    FORETOKEN_CHECK(node != nullptr, "a captured step has lost one of its marks");
  check_cuda(cudaGraphUpload(made.executable, origin()), "cudaGraphUpload");
  graphs_.push_back(std::move(made));
}

void CudaExecutor::discard_graphs() {
  for (const Graph& graph : graphs_) {
    cudaGraphExecDestroy(graph.executable);
    cudaGraphDestroy(graph.graph);
  }
  graphs_.clear();
}

// ---- running -------------------------------------------------------------------------------------------------------

void CudaExecutor::warm_up() {
  times_.reset();
  set_marks(false);
  for (std::int64_t step = 0; step < routed_steps_; ++step) queue_step(step, false);
  for (std::size_t s = 0; s < streams_.size(); ++s)
    check_cuda(cudaEventRecord(done_.front()[s].get(), streams_[s]), "cudaEventRecord");
  oldest_ = 0;
  await(0);
}

void CudaExecutor::launch(std::int64_t step) {
  check_cuda(cudaEventRecord(times_->anchor(step), origin()), "cudaEventRecord");
  auto& done = done_[static_cast<std::size_t>(step) % window_];
  if (!captures_) {
    queue_step(step, false);
    for (std::size_t s = 0; s < streams_.size(); ++s)
      check_cuda(cudaEventRecord(done[s].get(), streams_[s]), "cudaEventRecord");
    return;
  }
  const ProfilerRange range(fmt::format("step {}", step));
  const Graph& graph = graphs_[static_cast<std::size_t>(step % routed_steps_)];
  for (std::size_t m = 0; m < marks_.count; ++m)
    check_cuda(cudaGraphExecEventRecordNodeSetEvent(graph.executable, graph.nodes[m], times_->mark(step, m)),
               "cudaGraphExecEventRecordNodeSetEvent");
  if (options_.before_op) options_.before_op(step, role_.ops.front());
  check_cuda(cudaGraphLaunch(graph.executable, origin()), "cudaGraphLaunch");
  check_cuda(cudaEventRecord(done.front().get(), origin()), "cudaEventRecord");
}

void CudaExecutor::run(std::int64_t steps, std::vector<std::int64_t>& ends, RankEvents* events,
                       const std::function<void()>& look_on) {
  const std::size_t executions = static_cast<std::size_t>(steps) * role_.ops.size();
  ends.assign(executions, -1);
  if (events != nullptr) {
    for (auto* times : {&events->posted, &events->begun, &events->ended}) times->assign(executions, -1);
    events->cpu.assign(executions, 0);
  }
  look_on_ = look_on;
  set_marks(events != nullptr);
  times_.emplace(window_, marks_.count);
  discard_graphs();
  if (captures_)
    for (std::int64_t step = 0; step < routed_steps_; ++step) capture(step);
  oldest_ = 0;
  check_cuda(cudaStreamSynchronize(origin()), "cudaStreamSynchronize");
  began_ = times_->begin(origin());
  const auto window = static_cast<std::int64_t>(window_);
  for (std::int64_t step = 0; step < steps + window; ++step) {
    if (step >= window && oldest_ < steps) {
      await(step - window);
      read(step - window, ends, events);
    }
    if (step >= steps) continue;
    if (!begins(step)) {
      steps = step;  // what is under way is still awaited and read
      continue;
    }
    if (options_.progress != nullptr)
      options_.progress->store(static_cast<std::uint64_t>(step) << 32U, std::memory_order_relaxed);
    launch(step);
  }
  const std::size_t made = static_cast<std::size_t>(steps) * role_.ops.size();
  ends.resize(made);
  if (events == nullptr) return;
  for (auto* times : {&events->posted, &events->begun, &events->ended, &events->cpu}) times->resize(made);
}

// Others may be a little behind with their vote.
bool CudaExecutor::begins(std::int64_t step) {
  if (options_.vote == nullptr) return true;
  const auto since = steady_clock::now();
  StepAnswer answer = options_.vote->may_begin(step);
  for (; answer == StepAnswer::not_yet; answer = options_.vote->may_begin(step)) {
    look_after(since, "no verdict has come on whether the run goes on");
    std::this_thread::sleep_for(kBetweenLooks);
  }
  return answer == StepAnswer::yes;
}

bool CudaExecutor::ended(std::int64_t step) {
  const auto& done = done_[static_cast<std::size_t>(step) % window_];
  for (std::size_t s = 0; s < (captures_ && times_ ? 1 : done.size()); ++s) {
    const cudaError_t state = cudaEventQuery(done[s].get());
    if (state == cudaErrorNotReady) return false;
    check_cuda(state, fmt::format("step {}", step).c_str());
  }
  return true;
}

void CudaExecutor::await(std::int64_t step) {
  const auto since = steady_clock::now();
  while (!ended(step)) {
    look_after(since, "no step has ended");
    std::this_thread::sleep_for(kBetweenLooks);
  }
  if (look_on_) look_on_();
}

// What the host does while it waits.
void CudaExecutor::look_after(steady_clock::time_point since, const std::string& missed) const {
  if (nccl_ != nullptr) nccl_->poll();
  if (look_on_) look_on_();
  if (steady_clock::now() - since > options_.step_deadline)
    throw Error(ErrorCode::rank_failed,
                fmt::format("{} for {:.1f} s: {}", missed,
                            std::chrono::duration<double>(options_.step_deadline).count(), where()));
}

void CudaExecutor::read(std::int64_t step, std::vector<std::int64_t>& ends, RankEvents* events) {
  times_->read(step, read_);
  oldest_ = step + 1;
  for (std::size_t o = 0; o < role_.ops.size(); ++o) {
    const std::size_t at = event_index(step, o);
    if (role_.ops[o].kind == plan::OpKind::step_end) ends[at] = read_[static_cast<std::size_t>(marks_.end[o])];
    if (events == nullptr) continue;
    events->posted[at] = events->begun[at] = read_[static_cast<std::size_t>(marks_.begin[o])];
    events->ended[at] = read_[static_cast<std::size_t>(marks_.end[o])];
  }
}

std::string CudaExecutor::where() const {
  if (times_) {
    for (std::size_t o = 0; o < role_.ops.size(); ++o) {
      if (marks_.end[o] < 0) continue;
      if (cudaEventQuery(times_->mark(oldest_, static_cast<std::size_t>(marks_.end[o]))) != cudaErrorNotReady) continue;
      return fmt::format("step {}, {} has not ended", oldest_, role_.ops[o].name);
    }
  }
  return fmt::format("step {}", oldest_);
}

}  // namespace foretoken::runtime::cuda
