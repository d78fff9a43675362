# One line builds what was vendored, from the empty project's folder.
# Spec: build.vendor, build.consumer
include(${CMAKE_CURRENT_LIST_DIR}/vendored.cmake)
file(COPY ${program}/ DESTINATION ${project})
run(sh -c "cd '${project}' && '${COMPILER}' -std=c++17 -Iheirlock/include *.cpp heirlock/src/*.cpp -o '${SCRATCH}/consumer'")
run(${SCRATCH}/consumer)
run(${copy}/verify-manifest)  # building changed nothing
