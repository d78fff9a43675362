# Puts a copy of heirlock into an empty project, SCRATCH/project/heirlock, as a product would.
include(${CMAKE_CURRENT_LIST_DIR}/../ways/support.cmake)
set(project ${SCRATCH}/project)
set(copy ${project}/heirlock)
file(MAKE_DIRECTORY ${project})
run(${HEIRLOCK}/ci/vendor ${copy})
