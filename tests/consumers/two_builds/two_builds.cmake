# Two programs built apart, by COMPILER and by another (ANOTHER), each with a library of its own, share a lock.
# Spec: version.layout
include(${CMAKE_CURRENT_LIST_DIR}/../ways/support.cmake)
file(GLOB sources ${HEIRLOCK}/src/*.cpp)
set(sources ${CMAKE_CURRENT_LIST_DIR}/share.cpp ${sources} -I${HEIRLOCK}/include)
run(${COMPILER} -std=c++17 -O2 ${sources} -o ${SCRATCH}/one)
run(${ANOTHER} -std=c++20 -O0 ${sources} -o ${SCRATCH}/another)

# inherits(HEIR OWNER): leaves no segment, whatever becomes of it.
function(inherits heir owner)
  string(RANDOM LENGTH 16 random)
  set(name two-builds-${random})
  run(sh -c "cd '${SCRATCH}' && ./${owner} take ${name} && ./${heir} inherit ${name}
             status=$?
             rm -f /dev/shm/heirlock.${name}
             exit $status")  # no semicolons: CMake would take them for its own
endfunction()
inherits(one another)
inherits(another one)
