# No build system at all.
# Spec: build.consumer
include(${CMAKE_CURRENT_LIST_DIR}/support.cmake)
file(GLOB sources ${HEIRLOCK}/src/*.cpp ${program}/*.cpp)
run(${COMPILER} -std=c++17 -I${HEIRLOCK}/include ${sources} -o ${SCRATCH}/consumer)
run(${SCRATCH}/consumer)
