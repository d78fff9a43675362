# CMake builds what was vendored, as a subproject and alone, and installs it with the files for pkg-config and gdb.
# Spec: build.vendor
include(${CMAKE_CURRENT_LIST_DIR}/vendored.cmake)
set(HEIRLOCK ${copy})
build_and_run(build ${ways}/add_subdirectory)
build(installed ${copy} -DCMAKE_BUILD_TYPE=None -DHEIRLOCK_BUILD_TESTS=OFF -DHEIRLOCK_BUILD_STRESS=OFF)
run(${CMAKE_COMMAND} --install ${SCRATCH}/installed --prefix ${SCRATCH}/prefix)
run(${copy}/verify-manifest)
