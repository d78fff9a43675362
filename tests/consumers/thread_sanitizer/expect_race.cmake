# cmake -DPROGRAM=... -DSOURCE=... -P: ThreadSanitizer must end the program with its own status, having reported
# data races in the source file named, and nothing else. One increment may give two: its load races, and its store.
execute_process(COMMAND ${PROGRAM} RESULT_VARIABLE result OUTPUT_VARIABLE text ERROR_VARIABLE text)
string(REGEX MATCHALL "SUMMARY: ThreadSanitizer: [^\n]*" reports "${text}")
if(NOT result EQUAL 66 OR NOT reports MATCHES "^(;?SUMMARY: ThreadSanitizer: data race [^ ;]*/${SOURCE}:[^;]*)+$")
  message("${text}")
  message(FATAL_ERROR "found result ${result} and the reports '${reports}', expected 66 and data races in ${SOURCE}")
endif()
