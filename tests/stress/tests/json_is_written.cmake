# cmake -Dprogram=... -Dfile=... -P json_is_written.cmake: runs heirlock-stress with --json and reads the file.
# Spec: stress.json
cmake_minimum_required(VERSION 3.21)
execute_process(
  COMMAND ${program} --processes 3 --threads 2 --seconds 0.5 --kills-per-second 40.5 --accounts 9
          --seed 18446744073709551615 --json ${file}
  RESULT_VARIABLE status OUTPUT_VARIABLE output)
if(NOT status EQUAL 0)
  message(FATAL_ERROR "found the exit status ${status}, expected 0:\n${output}")
endif()
file(READ ${file} json)

function(expect value)
  string(JSON found GET "${json}" ${ARGN})
  if(NOT found STREQUAL value)
    message(FATAL_ERROR "found ${found}, expected ${value}, in ${ARGN} of\n${json}")
  endif()
endfunction()
expect(3 options processes)
expect(2 options threads)
expect(0.5 options seconds)
expect(40.5 options kills_per_second)
expect(9 options accounts)
expect(OFF interrupted)
expect(0 money_lost)
expect(0 stranded_waiters)
expect(0 wrong_owners_seen)
expect(0 failed_workers)
expect(ON passed)

foreach(name elapsed_seconds operations operations_per_second kills inherited recoveries transfers_finished
             transfers_undone timed_out longest_wait_seconds longest_wait_while_free_seconds)
  string(JSON type TYPE "${json}" ${name})
  if(NOT type STREQUAL "NUMBER")
    message(FATAL_ERROR "found a ${type}, expected a number, in ${name} of\n${json}")
  endif()
endforeach()

# CMake counts to 2^63-1.
if(NOT json MATCHES "\"seed\": 18446744073709551615\n")
  message(FATAL_ERROR "found another seed, expected the one given, in\n${json}")
endif()
