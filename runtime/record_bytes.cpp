#include "runtime/record_bytes.hpp"

namespace foretoken::runtime {

void write(ByteWriter& writer, const RankRecord& record) {
  writer.number(record.began);
  writer.number(record.instrumented_began);
  writer.number(record.interrupted ? 1 : 0);
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
  std::vector<double> busy;
  if (record.busy) busy.push_back(*record.busy);
  writer.numbers(busy);
}

RankRecord read_record(ByteReader& reader) {
  RankRecord record;
  record.began = reader.number();
  record.instrumented_began = reader.number();
  record.interrupted = reader.number() != 0;
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
  for (const double busy : reader.numbers<double>()) record.busy = busy;
  return record;
}

}  // namespace foretoken::runtime
