# A project in CMake finds and uses what was installed.
# Spec: build.consumer, conformance.installed
include(${CMAKE_CURRENT_LIST_DIR}/support.cmake)
set(options -DCMAKE_PREFIX_PATH=${PREFIX})
if(SHARED)
  list(APPEND options -DCMAKE_CXX_STANDARD=20 -DCMAKE_CXX_VISIBILITY_PRESET=hidden
                      -DCMAKE_VISIBILITY_INLINES_HIDDEN=ON)
endif()
build_and_run(build ${ways}/find_package ${options})
expect_no_development_flags(build)

foreach(version IN ITEMS 0.1.1 0.2 1.0)
  set_configure(version_${version} ${ways}/find_package ${options} -DEXPECTED_VERSION=${version})
  run_expecting("version: 0.1.0" ${configure})
endforeach()

# The conformance kit, with its vectors.
find_program(python3 NAMES python3)
if(python3)
  run(${python3} ${PREFIX}/bin/heirlock-conformance --list)
  file(GLOB vectors ${HEIRLOCK}/tests/conformance/vectors/*.vector)
  string(REGEX MATCHALL "[^\n]+: [^\n]+\n" listed "${output}")
  list(LENGTH vectors expected)
  list(LENGTH listed found)
  if(NOT found EQUAL expected)
    message(FATAL_ERROR "found ${found} vectors listed by the installed heirlock-conformance, expected ${expected}: ${output}")
  endif()
endif()
