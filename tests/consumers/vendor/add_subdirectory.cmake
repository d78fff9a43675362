# What was vendored, in CMake, and installed by the product with pkg-config's file and gdb's.
# Spec: build.vendor
include(${CMAKE_CURRENT_LIST_DIR}/vendored.cmake)
set(HEIRLOCK ${copy})
build_and_run(build ${ways}/add_subdirectory)
build(installed ${copy} -DHEIRLOCK_BUILD_TESTS=OFF -DHEIRLOCK_BUILD_STRESS=OFF)
run(${CMAKE_COMMAND} --install ${SCRATCH}/installed --prefix ${SCRATCH}/prefix)
run(${copy}/verify-manifest)
