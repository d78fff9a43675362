# Spec: build.consumer
include(${CMAKE_CURRENT_LIST_DIR}/support.cmake)
build_and_run(build ${ways}/fetch_content -DFETCHCONTENT_SOURCE_DIR_HEIRLOCK=${HEIRLOCK} -DCMAKE_CXX_STANDARD=20)
