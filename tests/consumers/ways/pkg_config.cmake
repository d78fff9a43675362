# pkg-config says how to build with what was installed.
# Spec: build.consumer, build.versions
include(${CMAKE_CURRENT_LIST_DIR}/support.cmake)
set(ENV{PKG_CONFIG_PATH} ${PREFIX}/${LIBDIR}/pkgconfig)

# expect_answer(EXPECTED option...)
function(expect_answer expected)
  run(pkg-config ${ARGN} heirlock)
  if(NOT output STREQUAL "${expected}\n")
    message(FATAL_ERROR "found '${output}', expected '${expected}', from: pkg-config ${ARGN} heirlock")
  endif()
endfunction()
expect_answer(${VERSION} --modversion)
expect_answer(1 --variable=layout_version)
run_expecting("heirlock > ${VERSION}" pkg-config --exists --print-errors "heirlock > ${VERSION}")

run(sh -c "'${COMPILER}' -std=c++17 $(pkg-config --cflags heirlock) '${program}'/*.cpp $(pkg-config --libs heirlock) -o '${SCRATCH}/consumer'")
set(ENV{LD_LIBRARY_PATH} ${PREFIX}/${LIBDIR})
run(${SCRATCH}/consumer)
