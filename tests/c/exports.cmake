# The shared library shows its API, all of it and nothing else, and its soname has a version. It and the archive need
# libc alone, and it is small. SIZE is empty where the build adds code of its own.
# cmake -DLIBRARY=... -DARCHIVE=... -DHEADER=... -DSONAME=... -DNM=... -DREADELF=... -DSIZE=... -P exports.cmake
# Spec: c.exports, c.libc-alone
cmake_minimum_required(VERSION 3.21)
set(ENV{LC_ALL} C)

# run(command...): runs it to success. The output is in `output`.
function(run)
  execute_process(COMMAND ${ARGN} OUTPUT_VARIABLE text RESULT_VARIABLE result)
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "found result ${result}, expected 0, from: ${ARGN}")
  endif()
  set(output "${text}" PARENT_SCOPE)
endfunction()

# symbols_of(FILE option...): the names that nm tells of, sorted, in `symbols`.
function(symbols_of file)
  run(${NM} --format=posix ${ARGN} ${file})
  string(REGEX MATCHALL "[^\n]+ [A-Za-z][^\n]*" lines "${output}")  # not the names of an archive's members
  list(TRANSFORM lines REPLACE " .*" "")
  list(SORT lines)
  set(symbols "${lines}" PARENT_SCOPE)
endfunction()

symbols_of(${LIBRARY} -D --defined-only)
file(READ ${HEADER} text)
string(REGEX MATCHALL "HEIRLOCK_(API|CHECKED) [^(;]*[ *]heirlock_[a-z_]+\\(" declared "${text}")
list(TRANSFORM declared REPLACE ".*[ *](heirlock_[a-z_]+)\\(" "\\1")
list(LENGTH declared count)
string(REGEX REPLACE ".*\\.so\\.([0-9]+)\\.([0-9]+)" "HEIRLOCK_\\1_\\2" symbol_version ${SONAME})
list(TRANSFORM declared APPEND "@@${symbol_version}")
list(FILTER symbols EXCLUDE REGEX "^${symbol_version}")  # the version itself
list(SORT declared)
if(count LESS 20)
  message(FATAL_ERROR "found ${count} functions in ${HEADER}, expected at least 20")
endif()
if(NOT symbols STREQUAL declared)
  message(FATAL_ERROR "found the symbols ${symbols}, expected the functions of ${HEADER}: ${declared}")
endif()

run(${READELF} -d ${LIBRARY})
if(NOT output MATCHES "soname: \\[${SONAME}\\]")
  message(FATAL_ERROR "found no soname ${SONAME} in ${LIBRARY}, expected it:\n${output}")
endif()
if(NOT SIZE)
  return()
endif()

string(REGEX MATCHALL "\\(NEEDED\\)[^\n]*" needed "${output}")
if(NOT needed MATCHES "^[^;]*\\[libc\\.so\\.6\\]$")
  message(FATAL_ERROR "found these libraries needed by ${LIBRARY}, expected libc.so.6 alone: ${needed}")
endif()

# What is neither in the file nor libc's: of the C++ library or its ABI, or storage of a thread reached by a call.
foreach(file IN ITEMS ${LIBRARY} ${ARCHIVE})
  symbols_of(${file} --defined-only)
  set(defined ${symbols})
  symbols_of(${file} --undefined-only)
  list(TRANSFORM symbols REPLACE "@.*" "")
  list(REMOVE_ITEM symbols ${defined} __cxa_finalize)
  if(NOT "snprintf" IN_LIST symbols)
    message(FATAL_ERROR "found '${symbols}' wanted by ${file}, expected some of libc's functions")
  endif()
  list(FILTER symbols INCLUDE REGEX "^(_Z|__cxa_|__gxx_|_Unwind_|__tls_get_addr)")
  if(symbols)
    message(FATAL_ERROR "found ${symbols} wanted by ${file}, expected nothing but libc's")
  endif()
endforeach()

if(BUILD_TYPE STREQUAL Release)
  run(${SIZE} -A ${LIBRARY})
  if(NOT output MATCHES "\n\\.text +([0-9]+)" OR CMAKE_MATCH_1 GREATER_EQUAL 24576)
    message(FATAL_ERROR "found a .text of ${CMAKE_MATCH_1} bytes in ${LIBRARY}, expected less than 24576:\n${output}")
  endif()
endif()
