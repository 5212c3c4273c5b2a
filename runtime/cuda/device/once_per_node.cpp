#include "runtime/cuda/device/once_per_node.hpp"

#include "core/error.hpp"

namespace foretoken::runtime::cuda {
namespace {

bool returns(const plan::Op& op) { return op.kind == plan::OpKind::combine; }

}  // namespace

OncePerNode::OncePerNode(const plan::Plan& plan, RankId rank)
    : plan_(plan), tables_(plan, rank), memory_(tables_.all()) {}

NodeRow OncePerNode::shape_of(const plan::Op& op, Queue queue) const {
  const std::int64_t element = bytes_per_element(queue.dtype);
  const NodeRow shape{plan_.scenario.model.hidden * element, plan_.scenario.model.top_k};
  FORETOKEN_CHECK(shape.bytes() == std::get<plan::ExchangeOp>(op.detail).cols * element,
                  op.name + " has rows of another width");
  return shape;
}

void OncePerNode::sum(const plan::Op& op, const NodeTables::Of& of, const NodeTables::Sums& which, Queue queue,
                      const NodeBuffers& buffers, std::byte* out) const {
  sum_node_rows(queue, std::get<plan::ExchangeOp>(op.detail).cols, NodeTables::sums(of, which, memory_.data()),
                buffers.in, buffers.in_weights, buffers.coming, out);
}

void OncePerNode::before(const plan::Op& op, std::int64_t routed_step, Queue queue, const NodeBuffers& buffers) const {
  const NodeTables::Of& of = tables_.at(routed_step, op);
  if (returns(op)) return sum(op, of, of.before, queue, buffers, buffers.leaving);
  const NodeRow shape = shape_of(op, queue);
  pack_node_rows(queue.stream, of.leaving.count, shape, at(of.leaving.offset), buffers.in, buffers.in_weights,
                 buffers.leaving);
  pack_node_rows(queue.stream, of.own.count, shape, at(of.own.offset), buffers.in, buffers.in_weights,
                 buffers.coming + of.own_first() * shape.bytes());
}

void OncePerNode::between(const plan::Op& op, std::int64_t routed_step, Queue queue, const NodeBuffers& buffers) const {
  const NodeTables::Of& of = tables_.at(routed_step, op);
  if (returns(op)) return sum(op, of, of.between, queue, buffers, buffers.leaving);
  const NodeRow shape = shape_of(op, queue);
  pass_node_rows(queue.stream, of.passing.count, shape, at(of.passing.offset), buffers.coming,
                 buffers.leaving + of.leaving.count * shape.bytes());
}

void OncePerNode::after(const plan::Op& op, std::int64_t routed_step, Queue queue, const NodeBuffers& buffers) const {
  const NodeTables::Of& of = tables_.at(routed_step, op);
  if (returns(op)) return sum(op, of, of.after, queue, buffers, buffers.out);
  use_node_rows(queue.stream, of.visitor_of_row.count, shape_of(op, queue), at(of.visitor_of_row.offset),
                at(of.choice_of_row), buffers.coming, buffers.out, buffers.out_weights);
}

}  // namespace foretoken::runtime::cuda
