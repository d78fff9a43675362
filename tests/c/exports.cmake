# The shared library shows its API, all of it and nothing else, and its soname has a version.
# cmake -DLIBRARY=... -DHEADER=... -DSONAME=... -DNM=... -DREADELF=... -P exports.cmake
# Spec: c.exports
execute_process(COMMAND ${NM} -D --defined-only --format=posix ${LIBRARY}
                OUTPUT_VARIABLE symbols RESULT_VARIABLE result)
if(NOT result EQUAL 0)
  message(FATAL_ERROR "found result ${result}, expected 0, from nm on ${LIBRARY}")
endif()
string(REGEX MATCHALL "[^\n]+" symbols "${symbols}")
list(TRANSFORM symbols REPLACE " .*" "")
list(SORT symbols)

file(READ ${HEADER} text)
string(REGEX MATCHALL "HEIRLOCK_API [^(;]*[ *]heirlock_[a-z_]+\\(" declared "${text}")
list(TRANSFORM declared REPLACE ".*[ *](heirlock_[a-z_]+)\\(" "\\1")
list(SORT declared)
list(LENGTH declared count)
if(count LESS 19)
  message(FATAL_ERROR "found ${count} functions in ${HEADER}, expected at least 19")
endif()
if(NOT symbols STREQUAL declared)
  message(FATAL_ERROR "found the symbols ${symbols}, expected the functions of ${HEADER}: ${declared}")
endif()

execute_process(COMMAND ${READELF} -d ${LIBRARY} OUTPUT_VARIABLE dynamic)
if(NOT dynamic MATCHES "soname: \\[${SONAME}\\]")
  message(FATAL_ERROR "found no soname ${SONAME} in ${LIBRARY}, expected it:\n${dynamic}")
endif()
