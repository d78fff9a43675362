# Two plug-ins with two versions of the library, by its C interface or in C++, in one process that loads them in either
# order and shows each the other's symbols. The second version is a copy of the sources with another number.
# Spec: c.own-copy, build.versions-apart, lock.owner.copies
include(${CMAKE_CURRENT_LIST_DIR}/../ways/support.cmake)
set(here ${CMAKE_CURRENT_LIST_DIR})
set(tests_in_c ${HEIRLOCK}/tests/c)

# Names of the same length, which mangled names count.
string(REGEX REPLACE "^([0-9]+)\\.([0-9]+)\\..*" "v\\1_\\2" namespace ${VERSION})
string(REGEX REPLACE "[0-9]" "9" next_namespace ${namespace})
string(REGEX REPLACE "[0-9]" "9" next_version ${VERSION})
file(COPY ${HEIRLOCK}/include ${HEIRLOCK}/src DESTINATION ${SCRATCH}/next)
file(GLOB_RECURSE files ${SCRATCH}/next/*.h ${SCRATCH}/next/*.?pp)
run(sed -i -e s/${namespace}/${next_namespace}/g -e "s/VERSION \"${VERSION}\"/VERSION \"${next_version}\"/" ${files})

# make_plug_ins(NAME SOURCES): a plug-in in C and one in C++, with the library from there. Nothing is hidden, but what
# the library hides by itself.
function(make_plug_ins name sources)
  compile_c_library(${name} ${sources} -fPIC)
  set(c_plug_in ${SCRATCH}/${name}_in_c.so)
  run(${C_COMPILER} -std=gnu99 -fPIC -shared -I${sources}/include ${here}/plug_in.c ${objects} -o ${c_plug_in})
  file(GLOB cpp_sources ${sources}/src/*.cpp)
  run(${COMPILER} -std=c++17 -O1 -fPIC -shared -I${sources}/include ${here}/plug_in.cpp ${cpp_sources}
      -o ${SCRATCH}/${name}_in_cpp.so)
endfunction()
make_plug_ins(this ${HEIRLOCK})
make_plug_ins(next ${SCRATCH}/next)

run(${C_COMPILER} -std=gnu99 -D_GNU_SOURCE -pthread -I${HEIRLOCK}/include -I${tests_in_c} ${here}/host.c
    ${tests_in_c}/check.c -ldl -o ${SCRATCH}/host)
foreach(way IN ITEMS in_c in_cpp)
  set(this ${SCRATCH}/this_${way}.so ${VERSION})
  set(next ${SCRATCH}/next_${way}.so ${next_version})
  run(${SCRATCH}/host ${this} ${next})
  run(${SCRATCH}/host ${next} ${this})
endforeach()
