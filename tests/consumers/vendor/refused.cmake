# ci/vendor writes into a new or an empty folder, and nowhere else.
# Spec: build.vendor
include(${CMAKE_CURRENT_LIST_DIR}/../ways/support.cmake)
set(vendor ${HEIRLOCK}/ci/vendor)

file(MAKE_DIRECTORY ${SCRATCH}/used)
file(WRITE ${SCRATCH}/used/.mine "mine\n")
run_expecting("is not empty; give a new or empty folder" ${vendor} ${SCRATCH}/used)
run_expecting("is not a folder; give a new or empty one" ${vendor} ${SCRATCH}/used/.mine)
file(GLOB files ${SCRATCH}/used/* ${SCRATCH}/used/.*)
file(READ ${SCRATCH}/used/.mine mine)
if(NOT files STREQUAL "${SCRATCH}/used/.mine" OR NOT mine STREQUAL "mine\n")
  message(FATAL_ERROR "found ${files} with '${mine}', expected that a refusal changes nothing")
endif()
run_expecting("0 arguments were given; give one" ${vendor})
run_expecting("the name of the folder is empty" sh -c "'${vendor}' ''")
run_expecting("2 arguments were given; give one" ${vendor} ${SCRATCH}/one ${SCRATCH}/two)

# A relative one lies in the caller's folder.
file(MAKE_DIRECTORY "${SCRATCH}/an empty one")
run(sh -c "cd '${SCRATCH}' && '${vendor}' 'an empty one'")
run("${SCRATCH}/an empty one/verify-manifest")
