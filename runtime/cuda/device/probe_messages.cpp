#include "runtime/cuda/device/probe_messages.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

#include "core/error.hpp"
#include "runtime/cuda/device/gpu.hpp"

namespace foretoken::runtime::cuda {
namespace {

constexpr DType kType = DType::bf16;
constexpr const char* kAlgorithm = "NCCL_ALGO";

std::pair<std::int64_t, std::int64_t> group_of(const MessageProbe& probe) { return {probe.ranks, probe.nodes}; }

// For all kinds that the algorithm is for; a name that NCCL does not know there would be an error.
std::string setting(const std::string& algorithm) {
  if (algorithm == "ring") return "allreduce:ring;allgather:ring;reducescatter:ring";
  return "allreduce:" + algorithm;
}

}  // namespace

std::vector<NcclCall> calls_of(const MessageProbe& probe, std::int64_t rank) {
  const std::int64_t elements = probe.bytes.value() / bytes_per_element(kType);
  const std::int64_t part = elements / probe.ranks;
  const auto call = [](NcclFunction function, std::int64_t count, std::int32_t peer = -1) {
    NcclCall one;
    one.function = function;
    one.dtype = kType;
    one.count = count;
    one.peer = peer;
    return std::vector{one};
  };
  switch (probe.kind) {
    case MessageKind::all_reduce: return call(NcclFunction::all_reduce, elements);
    case MessageKind::all_gather: return call(NcclFunction::all_gather, part);
    case MessageKind::reduce_scatter: return call(NcclFunction::reduce_scatter, part);
    case MessageKind::all_to_all: return call(NcclFunction::all_to_all, part);
    case MessageKind::send_recv:
      return rank == 0 ? call(NcclFunction::send, elements, 1) : call(NcclFunction::recv, elements, 0);
  }
  FORETOKEN_CHECK(false, "no such message");
}

std::vector<NcclCall> calls_of(const PairProbe& probe, RankId rank) {
  if (rank != probe.from && rank != probe.to) return {};
  NcclCall call;
  call.function = rank == probe.from ? NcclFunction::send : NcclFunction::recv;
  call.dtype = kType;
  call.count = probe.bytes.value() / bytes_per_element(kType);
  call.peer = (rank == probe.from ? probe.to : probe.from).value();
  return {call};
}

ProbeMessages::ProbeMessages(Bootstrap& bootstrap, LaunchLayout layout)
    : bootstrap_(bootstrap), layout_(std::move(layout)) {}

void ProbeMessages::require_free_choice() {
  if (std::getenv(kAlgorithm) != nullptr)  // NOLINT(concurrency-mt-unsafe): before there are threads
    throw Error(ErrorCode::invalid_input,
                "NCCL_ALGO is set in the environment, and every algorithm is to be measured; unset it");
}

void ProbeMessages::connect(const std::string& algorithm, const std::vector<MessageProbe>& probes) {
  communicator_.reset();
  groups_.clear();
  if (algorithm.empty()) unsetenv(kAlgorithm);  // NOLINT(concurrency-mt-unsafe): NCCL's threads do not read it
  else setenv(kAlgorithm, setting(algorithm).c_str(), 1);  // NOLINT(concurrency-mt-unsafe): as above
  std::vector<NcclFamily> families;
  for (const MessageProbe& probe : probes) {
    if (std::find(groups_.begin(), groups_.end(), group_of(probe)) != groups_.end()) continue;
    groups_.push_back(group_of(probe));
    NcclFamily family;
    family.name = fmt::format("{} ranks on {} nodes", probe.ranks, probe.nodes);
    family.color_of_rank.assign(static_cast<std::size_t>(layout_.ranks()), -1);
    for (const RankId rank : layout_.members(probe)) family.color_of_rank[rank.index()] = 0;
    families.push_back(std::move(family));
  }
  communicator_ = std::make_unique<NcclCommunicator>(library_, families, bootstrap_);
}

void ProbeMessages::connect_all() {
  communicator_.reset();
  groups_.clear();
  unsetenv(kAlgorithm);  // NOLINT(concurrency-mt-unsafe): NCCL's threads do not read it
  NcclFamily family;
  family.name = "all ranks";
  family.color_of_rank.assign(static_cast<std::size_t>(layout_.ranks()), 0);
  communicator_ = std::make_unique<NcclCommunicator>(library_, std::vector{family}, bootstrap_);
}

bool ProbeMessages::prepare(const MessageProbe& probe) {
  in_ = {};
  out_ = {};
  const std::vector<RankId> members = layout_.members(probe);
  const auto own = std::find(members.begin(), members.end(), RankId(static_cast<std::int32_t>(bootstrap_.rank())));
  if (own == members.end()) return false;
  allocate(probe.bytes);
  const auto family = std::find(groups_.begin(), groups_.end(), group_of(probe));
  FORETOKEN_CHECK(family != groups_.end(), "the group has a communicator");
  operation_ = {static_cast<std::int32_t>(family - groups_.begin()), calls_of(probe, own - members.begin())};
  return true;
}

bool ProbeMessages::prepare(const PairProbe& probe) {
  in_ = {};
  out_ = {};
  operation_ = {0, calls_of(probe, RankId(static_cast<std::int32_t>(bootstrap_.rank())))};
  if (operation_.calls.empty()) return false;
  allocate(probe.bytes);
  return true;
}

void ProbeMessages::allocate(Bytes size) {
  const auto bytes = static_cast<std::size_t>(size.value());
  if (2 * size.value() > device_memory().free)
    throw Error(ErrorCode::infeasible, fmt::format("buffers of {} bytes are not free on the GPU", size.value()));
  in_ = DeviceArray<std::byte>(bytes);
  out_ = DeviceArray<std::byte>(bytes);
  check_cuda(cudaMemset(in_.data(), 0, bytes), "cudaMemset");
}

void ProbeMessages::queue(cudaStream_t stream) { communicator_->queue(operation_, in_.data(), out_.data(), stream); }

}  // namespace foretoken::runtime::cuda
