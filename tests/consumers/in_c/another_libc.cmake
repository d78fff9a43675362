# The header, with musl's C compiler (MUSL_GCC), refuses another libc than glibc.
# Spec: build.libc
include(${CMAKE_CURRENT_LIST_DIR}/../ways/support.cmake)
file(WRITE ${SCRATCH}/musl.c "#include <stdint.h>\n#ifdef __GLIBC__\n#error \"found glibc's headers\"\n#endif\n")
run(${MUSL_GCC} -fsyntax-only ${SCRATCH}/musl.c)
file(WRITE ${SCRATCH}/refused.c "#include <heirlock/heirlock.h>\n")
run_expecting("heirlock needs 64-bit Linux with glibc"
              ${MUSL_GCC} -I${HEIRLOCK}/include -fsyntax-only ${SCRATCH}/refused.c)
