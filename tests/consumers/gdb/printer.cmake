# gdb with the installed printer shows each state of a lock, in a program with -g, over a library without, and in
# one without.
# Spec: build.gdb
include(${CMAKE_CURRENT_LIST_DIR}/../ways/support.cmake)
find_program(gdb gdb)
if(NOT gdb)
  message(FATAL_ERROR "found no gdb, expected it to test its printer; ci/setup installs it")
endif()

# Each shows 10 locks of locks.cpp, and one besides.
foreach(script IN ITEMS print without_g)
  set(debug -g0)
  if(script STREQUAL print)
    set(debug -g)
  endif()
  run(${COMPILER} -std=c++17 ${debug} -O0 -I${PREFIX}/headers ${CMAKE_CURRENT_LIST_DIR}/locks.cpp
      ${PREFIX}/${LIBDIR}/libheirlock.a -o ${SCRATCH}/locks)
  run(${gdb} -nx -batch -ex "source ${PREFIX}/share/heirlock/heirlock-gdb.py"
      -x ${CMAKE_CURRENT_LIST_DIR}/${script}.gdb ${SCRATCH}/locks)

  string(REGEX MATCHALL "expected [^\n]*\nfound [^\n]*" pairs "${output}")
  list(LENGTH pairs count)
  set(expected_count 11)
  foreach(pair IN LISTS pairs)
    string(REGEX MATCH "^expected ([^\n]*)\nfound (.*)$" whole "${pair}")
    if(NOT CMAKE_MATCH_1 STREQUAL CMAKE_MATCH_2)
      message("${output}")
      message(FATAL_ERROR "${script}: found '${CMAKE_MATCH_2}', expected '${CMAKE_MATCH_1}'")
    endif()
  endforeach()
  if(NOT count EQUAL expected_count OR NOT output MATCHES "exited normally")
    message("${output}")
    message(FATAL_ERROR "${script}: found ${count} locks shown, expected ${expected_count}, and a normal end")
  endif()
endforeach()
