# One plain call of the C compiler links a program in C, or a plug-in, with what was installed, or with objects of the
# sources. What comes of it needs no library but libc, and libheirlock_c.so if that is shared.
# Spec: build.consumer, c.libc-alone
include(${CMAKE_CURRENT_LIST_DIR}/../ways/support.cmake)
set(here ${CMAKE_CURRENT_LIST_DIR})
set(example ${HEIRLOCK}/tests/examples/counter_in_c.c)
set(in_c ${C_COMPILER} -std=gnu99)

# needs(FILE LIBRARY...): the libraries that it needs are these, in this order.
function(needs file)
  run(readelf -d ${SCRATCH}/${file})
  string(REGEX MATCHALL "\\(NEEDED\\)[^\n]*" needed "${output}")
  list(TRANSFORM needed REPLACE ".*\\[(.*)\\].*" "\\1")
  if(NOT needed STREQUAL "${ARGN}")
    message(FATAL_ERROR "found '${needed}', expected '${ARGN}', needed by ${file}")
  endif()
endfunction()

set(folder ${PREFIX}/${LIBDIR})
set(archive ${folder}/libheirlock_c.a)
set(headers -I${PREFIX}/headers)
set(ENV{PKG_CONFIG_PATH} ${folder}/pkgconfig)

# The shared library.
run(pkg-config --cflags --libs heirlock_c)
separate_arguments(options UNIX_COMMAND "${output}")
run(${in_c} ${example} ${options} -o ${SCRATCH}/shared)
needs(shared libheirlock_c.so.0.1 libc.so.6)
run(${CMAKE_COMMAND} -E env LD_LIBRARY_PATH=${folder} ${SCRATCH}/shared)

# The archive.
run(${in_c} ${headers} ${example} ${archive} -o ${SCRATCH}/archive)
needs(archive libc.so.6)
run(${SCRATCH}/archive)

# The archive, in a plug-in.
run(${in_c} ${headers} -shared -fPIC -Dmain=run_plug_in ${example} ${archive} -o ${SCRATCH}/plug_in.so)
needs(plug_in.so libc.so.6)
run(${in_c} ${here}/host.c -ldl -o ${SCRATCH}/host)
run(${SCRATCH}/host ${SCRATCH}/plug_in.so)

# The archive, in a program without shared libraries, where there is a libc for them.
file(WRITE ${SCRATCH}/empty.c "int main(void) {\n  return 0;\n}\n")
execute_process(COMMAND ${in_c} -static ${SCRATCH}/empty.c -o ${SCRATCH}/empty RESULT_VARIABLE no_static_libc
                OUTPUT_QUIET ERROR_QUIET)
if(no_static_libc)
  message("not tried: found no libc.a to link with -static")
else()
  run(${in_c} ${headers} -static ${example} ${archive} -o ${SCRATCH}/static)
  needs(static)
  run(${SCRATCH}/static)
endif()

# The sources.
compile_c_library(sources ${HEIRLOCK})
run(${in_c} -I${HEIRLOCK}/include ${example} ${objects} -o ${SCRATCH}/sources)
needs(sources libc.so.6)
run(${SCRATCH}/sources)

# The CMake package, in a project that knows C alone.
build(build ${here} -DCMAKE_C_COMPILER=${C_COMPILER} -DCMAKE_PREFIX_PATH=${PREFIX} -DEXAMPLE=${example})
foreach(program IN ITEMS shared archive)
  run(${SCRATCH}/build/${program})
endforeach()
needs(build/archive libc.so.6)
