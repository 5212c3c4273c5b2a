#include "sim/communication/meeting_footprint.hpp"

#include <variant>
#include <vector>

namespace foretoken::sim {
namespace {

Bytes bytes_of(std::int64_t rows, std::int64_t cols, DType dtype) {
  return Bytes(rows * cols * bytes_per_element(dtype));
}

Footprint alone(const plan::Program& program, const Meeting& meeting, const Transport& transport) {
  const plan::Communication& communication = program.communications[meeting.communication.index()];
  const Participant& first = meeting.participants.front();
  const plan::Op& op = program.role_of(first.rank).ops[first.op.index()];
  if (communication.kind == plan::OpKind::send) {
    const auto& detail = std::get<plan::TransferOp>(op.detail);
    return transport.transfer(meeting.participants[0].rank, meeting.participants[1].rank,
                              bytes_of(detail.rows, detail.cols, communication.dtype));
  }
  const auto& detail = std::get<plan::CollectiveOpDetail>(op.detail);
  std::vector<RankId> members;
  for (const Participant& participant : meeting.participants) members.push_back(participant.rank);
  return transport.collective(collective_of(communication.kind), communication.algorithm, members,
                              bytes_of(detail.rows, detail.cols, communication.dtype));
}

}  // namespace

Footprint footprint_of(const plan::Program& program, const Meeting& meeting, const Transport& transport) {
  Footprint footprint = alone(program, meeting, transport);
  const plan::OpKind kind = program.communications[meeting.communication.index()].kind;
  const double stretch = transport.stretch(name_of(kind), footprint.provenance);
  footprint.latency = footprint.latency * stretch;
  footprint.demand *= stretch;
  return footprint;
}

}  // namespace foretoken::sim
