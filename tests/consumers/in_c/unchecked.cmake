# Each compiler warns of an acquire whose outcome is not looked at, and of a segment's, but of no other call's.
# Spec: c.unchecked
include(${CMAKE_CURRENT_LIST_DIR}/../ways/support.cmake)
file(WRITE ${SCRATCH}/call.c "#include <heirlock/heirlock.h>\nvoid call(heirlock_lock* lock, heirlock_segment* segment);\n\
void call(heirlock_lock* lock, heirlock_segment* segment) {\n  (void)lock;\n  (void)segment;\n  CALL;\n}\n")

foreach(name IN ITEMS ${C_COMPILER} gcc clang)
  unset(compiler)
  find_program(compiler NAMES ${name} NO_CACHE)
  if(NOT compiler)
    message("not tried: found no ${name}")
    continue()
  endif()
  set(compile ${compiler} -std=c99 -Wall -Wextra -Werror -I${HEIRLOCK}/include -c ${SCRATCH}/call.c
              -o ${SCRATCH}/call.o)
  foreach(call IN ITEMS heirlock_acquire\(lock\) heirlock_try_acquire\(lock\) heirlock_acquire_for\(lock,1\)
                        heirlock_acquire_until\(lock,1\) heirlock_segment_create\(segment,"a",8,8,"x"\)
                        heirlock_segment_open\(segment,"a",8,8,"x"\)
                        heirlock_segment_open_or_create\(segment,"a",8,8,"x"\))
    run_expecting("unused-result" ${compile} -DCALL=${call})
  endforeach()
  foreach(call IN ITEMS heirlock_release\(lock\) heirlock_repaired\(lock\) heirlock_segment_close\(segment\))
    run(${compile} -DCALL=${call})
  endforeach()
endforeach()
