# Spec: build.consumer, build.guest
include(${CMAKE_CURRENT_LIST_DIR}/support.cmake)

# The trace shows each command of heirlock's as it is written, without the values of its variables.
set_configure(build ${ways}/add_subdirectory --trace-redirect=${SCRATCH}/trace --trace-source=CMakeLists.txt)
run(${configure})
file(STRINGS ${SCRATCH}/trace commands)
string(REGEX REPLACE "([][+.*()^$?|])" "\\\\\\1" own "${HEIRLOCK}/CMakeLists.txt")
list(FILTER commands INCLUDE REGEX "^${own}\\(")
if(NOT commands MATCHES "add_library")
  message(FATAL_ERROR "found no trace of heirlock's commands, expected them in ${SCRATCH}/trace")
endif()
string(TOLOWER "${commands}" lower)
foreach(command IN ITEMS add_subdirectory add_executable fetchcontent_ externalproject_ file execute_process find_ enable_testing add_test add_custom
                         add_compile_ add_definitions add_link_options include_directories link_)
  if(lower MATCHES "\\):  ${command}[a-z_]*\\([^;]*")
    message(FATAL_ERROR "found ${CMAKE_MATCH_0}, expected nothing fetched, sought, tested or set for all")
  endif()
endforeach()
if(commands MATCHES "{CMAKE_(SOURCE|BINARY)_DIR}")
  message(FATAL_ERROR "found ${CMAKE_MATCH_0} in heirlock's CMakeLists.txt, which names the parent's folder there")
endif()

run(${CMAKE_COMMAND} --build ${SCRATCH}/build)
run(${SCRATCH}/build/consumer)
expect_no_development_flags(build)

# What the parent installs is the parent's.
run(${CMAKE_COMMAND} --install ${SCRATCH}/build --prefix ${SCRATCH}/prefix)
file(GLOB_RECURSE installed ${SCRATCH}/prefix/*)
if(installed)
  message(FATAL_ERROR "found ${installed} installed, expected nothing of heirlock's")
endif()
