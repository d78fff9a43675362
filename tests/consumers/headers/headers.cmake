# Each header compiles alone and twice over, without a warning; and two files that include them all, in both
# orders, make one program.
# Spec: build.consumer
include(${CMAKE_CURRENT_LIST_DIR}/../ways/support.cmake)
set(compile ${COMPILER} -std=c++${STANDARD} -I${HEIRLOCK}/include
            -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror)

file(GLOB_RECURSE headers RELATIVE ${HEIRLOCK}/include ${HEIRLOCK}/include/*.hpp ${HEIRLOCK}/include/*.h)
if(NOT headers MATCHES "heirlock/lockable.hpp")
  message(FATAL_ERROR "found the headers '${headers}' in ${HEIRLOCK}/include, expected heirlock's")
endif()
set(forwards "")
set(backwards "")
foreach(header IN LISTS headers)
  file(WRITE ${SCRATCH}/alone.cpp "#include <${header}>\n#include <${header}>\n")
  run(${compile} -fsyntax-only ${SCRATCH}/alone.cpp)
  string(APPEND forwards "#include <${header}>\n")
  string(PREPEND backwards "#include <${header}>\n")
endforeach()

# Something of each header, so that both files hold it.
set(use "int use() {\n  heirlock::ReentrantLock lock;\n  heirlock::Shared<int> value(1);\n\
  struct : heirlock::Lockable {} object;\n  object.locked([&] { lock.lock(); });\n  lock.unlock();\n\
  return *value + heirlock::make_error_code(heirlock::errc::not_trusted).value();\n}\n")
string(REPLACE "use()" "use_again()" use_again "${use}")
file(WRITE ${SCRATCH}/one.cpp "${forwards}${use}int use_again();\nint main() { return use() == use_again() ? 0 : 1; }\n")
file(WRITE ${SCRATCH}/another.cpp "${backwards}int use_again();\n${use_again}")
file(GLOB sources ${HEIRLOCK}/src/*.cpp)
foreach(source IN LISTS sources)
  run(${compile} -fsyntax-only ${source})
endforeach()
run(${compile} ${SCRATCH}/one.cpp ${SCRATCH}/another.cpp ${PREFIX}/${LIBDIR}/libheirlock.a -o ${SCRATCH}/program)
run(${SCRATCH}/program)
