# Compiles the JSON Schemas of our file formats into the tools, so that `foretoken schema` needs no file at run time.
#
# Every schema stays one file beside the data that it describes. To add one, add a line to FORETOKEN_SCHEMAS: its name,
# a colon, its path.
set(FORETOKEN_SCHEMAS
  scenario:scenarios/scenario.schema.json
  model:scenarios/model.schema.json
  routing:scenarios/routing.schema.json
  model-size:tools/cli/model-size.schema.json
  topology:topologies/topology.schema.json
  topology-findings:tools/cli/topology-findings.schema.json
  device:topologies/devices/device.schema.json
  calibration:topologies/calibrations/calibration.schema.json
  advice:tools/cli/advice.schema.json
  audit:scenarios/audit.schema.json
  audit-report:tools/cli/audit-report.schema.json
  model-errors:topologies/calibrations/errors/model-errors.schema.json
  result:tools/cli/result.schema.json
  comparison:tools/cli/comparison.schema.json
  sweep:tools/cli/sweep.schema.json
  whatif:tools/cli/whatif.schema.json
  recommendation:tools/cli/recommendation.schema.json
  explanation:tools/cli/explanation.schema.json
  collective:tools/cli/collective.schema.json
  op:tools/cli/op.schema.json
  score:tools/cli/score.schema.json
  diagnosis:tools/cli/diagnosis.schema.json
  live-diagnosis:tools/cli/live-diagnosis.schema.json
  suite:tools/cli/suite.schema.json
  accepted-accuracy:scenarios/published/accepted.schema.json)

set(schema_entries)
list(LENGTH FORETOKEN_SCHEMAS schema_count)
foreach(schema IN LISTS FORETOKEN_SCHEMAS)
  string(REGEX MATCH "^([^:]+):(.+)$" matched "${schema}")
  file(READ ${PROJECT_SOURCE_DIR}/${CMAKE_MATCH_2} schema_file_text)
  string(APPEND schema_entries "    {\"${CMAKE_MATCH_1}\", R\"schema(${schema_file_text})schema\"},\n")
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${CMAKE_MATCH_2})
endforeach()
configure_file(tools/cli/schemas.cpp.in ${FORETOKEN_GENERATED}/schemas.cpp @ONLY)
target_sources(foretoken_tools PRIVATE ${FORETOKEN_GENERATED}/schemas.cpp)
