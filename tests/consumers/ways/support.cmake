# For the scripts of this folder, each of which is run by `cmake -P` with:
#   HEIRLOCK   heirlock's source folder
#   SCRATCH    a folder of the test's own, made anew
#   COMPILER   the C++ compiler of the build that the test belongs to
#   C_COMPILER, GENERATOR, MAKE_PROGRAM   likewise
#   VERSION    the version of heirlock in CMakeLists.txt
# Those that use an installed heirlock get as well:
#   SHARED     ON where it is a shared library
#   PREFIX     where install.cmake installed it, with libraries in LIBDIR and headers in `headers`
cmake_minimum_required(VERSION 3.21)
set(ways ${CMAKE_CURRENT_LIST_DIR})
set(program ${ways}/../program)
file(REMOVE_RECURSE ${SCRATCH})
file(MAKE_DIRECTORY ${SCRATCH})
set(ENV{LC_ALL} C.UTF-8)  # what programs say is read
foreach(name IN ITEMS CFLAGS CXXFLAGS LDFLAGS CMAKE_BUILD_TYPE DESTDIR)  # which would change what a consumer builds
  unset(ENV{${name}})
endforeach()

# run(command...): runs it to success. The output is in `output`.
function(run)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE result OUTPUT_VARIABLE text ERROR_VARIABLE text)
  set(output "${text}" PARENT_SCOPE)
  if(NOT result EQUAL 0)
    list(JOIN ARGN " " command)
    message("${text}")
    message(FATAL_ERROR "found result ${result}, expected 0, from: ${command}")
  endif()
endfunction()

# run_expecting(TEXT command...): the command must fail, and say so with a text that matches.
function(run_expecting expected)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE result OUTPUT_VARIABLE text ERROR_VARIABLE text)
  list(JOIN ARGN " " command)
  if(result EQUAL 0)
    message(FATAL_ERROR "found success, expected a failure with '${expected}', from: ${command}")
  elseif(NOT text MATCHES "${expected}")
    message("${text}")
    message(FATAL_ERROR "found no '${expected}' in the failure of: ${command}")
  endif()
endfunction()

# The command that configures the project in `source`, into SCRATCH/`name`.
macro(set_configure name source)
  set(configure ${CMAKE_COMMAND} -S ${source} -B ${SCRATCH}/${name} -G ${GENERATOR}
                -DCMAKE_MAKE_PROGRAM=${MAKE_PROGRAM} -DCMAKE_CXX_COMPILER=${COMPILER}
                -DCMAKE_EXPORT_COMPILE_COMMANDS=ON -DPROGRAM=${program} -DHEIRLOCK=${HEIRLOCK} ${ARGN})
endmacro()

# build(NAME SOURCE option...): configures and builds.
function(build name source)
  set_configure(${name} ${source} ${ARGN})
  run(${configure})
  run(${CMAKE_COMMAND} --build ${SCRATCH}/${name})
endfunction()

# build_and_run(NAME SOURCE option...): and runs the consumer's program.
function(build_and_run name source)
  build(${name} ${source} ${ARGN})
  run(${SCRATCH}/${name}/consumer)
endfunction()

# No flag of heirlock's own development may reach whom it is built with, nor heirlock itself, since a warning
# of a compiler yet to come would then be a guest's broken build.
function(expect_no_development_flags name)
  file(READ ${SCRATCH}/${name}/compile_commands.json commands)
  string(JSON count LENGTH "${commands}")
  if(count LESS 3)
    message(FATAL_ERROR "found ${count} compile commands, expected those of the consumer's three files")
  endif()
  math(EXPR last "${count} - 1")
  foreach(index RANGE ${last})
    string(JSON command GET "${commands}" ${index} command)
    if(command MATCHES " (-W|-pedantic|-fsanitize|-fno-|-g|-O)[^ ]*")
      message(FATAL_ERROR "found ${CMAKE_MATCH_0}, expected no flag but the consumer's, in: ${command}")
    endif()
  endforeach()
endfunction()

# compile_c_library(NAME FOLDER option...): the C library from the sources in FOLDER, by plain calls of the C++ compiler.
# The objects are in `objects`.
function(compile_c_library name folder)
  file(STRINGS ${HEIRLOCK}/CMakeLists.txt line REGEX "^set\\(heirlock_c_sources ")
  string(REGEX MATCHALL "src/[a-z_]+\\.cpp" sources "${line}")
  if(NOT sources MATCHES "src/c_interface.cpp")
    message(FATAL_ERROR "found '${line}' in CMakeLists.txt, expected the C library's sources")
  endif()
  set(made "")
  foreach(source IN LISTS sources)
    get_filename_component(stem ${source} NAME_WE)
    list(APPEND made ${SCRATCH}/${name}_${stem}.o)
    run(${COMPILER} -std=c++17 -O2 -fno-exceptions -fno-rtti ${ARGN} -I${folder}/include -c ${folder}/${source}
        -o ${SCRATCH}/${name}_${stem}.o)
  endforeach()
  set(objects ${made} PARENT_SCOPE)
endfunction()
