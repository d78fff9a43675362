# Shared libraries, in a project that hides symbols, in C++20. All must agree on who the calling thread is.
# Spec: build.consumer
include(${CMAKE_CURRENT_LIST_DIR}/support.cmake)
build_and_run(build ${ways}/add_subdirectory -DBUILD_SHARED_LIBS=ON -DCMAKE_CXX_STANDARD=20
              -DCMAKE_CXX_VISIBILITY_PRESET=hidden -DCMAKE_VISIBILITY_INLINES_HIDDEN=ON)
