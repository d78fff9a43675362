# The manifest has the versions and a sum for each file, and verify-manifest names what has changed since.
# Spec: build.vendor-manifest, build.versions
include(${CMAKE_CURRENT_LIST_DIR}/vendored.cmake)

file(STRINGS ${copy}/MANIFEST comments REGEX "^#")
foreach(line IN ITEMS "# version: ${VERSION}" "# layout version: 1")
  if(NOT line IN_LIST comments)
    message(FATAL_ERROR "found '${comments}' in MANIFEST, expected the line '${line}'")
  endif()
endforeach()
file(GLOB_RECURSE files RELATIVE ${copy} ${copy}/*)
foreach(file IN ITEMS LICENSE SPECIFICATION.md CHANGELOG.md CMakeLists.txt include/README.md include/heirlock/lockable.hpp src/segment.cpp)
  if(NOT file IN_LIST files)
    message(FATAL_ERROR "found '${files}', expected ${file} among them")
  endif()
endforeach()
foreach(file IN LISTS files)
  if(NOT file STREQUAL MANIFEST)
    file(SHA256 ${copy}/${file} sum)
    file(STRINGS ${copy}/MANIFEST entry REGEX "^${sum}  ${file}$")
    if(NOT entry)
      message(FATAL_ERROR "found no line '${sum}  ${file}' in MANIFEST")
    endif()
  endif()
endforeach()

# expect_named(TEXT STATUS): verify-manifest must end with this status and print this, and nothing else on its output.
function(expect_named expected status)
  execute_process(COMMAND ${copy}/verify-manifest RESULT_VARIABLE result OUTPUT_VARIABLE text ERROR_VARIABLE why)
  if(NOT result EQUAL status OR NOT text STREQUAL expected)
    message(FATAL_ERROR "found result ${result} and '${text}', expected ${status} and '${expected}'; it said: ${why}")
  endif()
  if(NOT why MATCHES "verify-manifest: .*run ci/vendor again")
    message(FATAL_ERROR "the message '${why}' does not say what to do")
  endif()
endfunction()

# One thing done to the copy, and what must be said of it; then the copy is made anew.
function(expect_after command expected status)
  run(sh -c "cd '${copy}' && ${command}")
  expect_named("${expected}" ${status})
  file(REMOVE_RECURSE ${copy})
  run(${HEIRLOCK}/ci/vendor ${copy})
endfunction()
expect_after("rm src/error.cpp" "missing: src/error.cpp\n" 1)
expect_after("printf x | dd of=LICENSE conv=notrunc" "changed: LICENSE\n" 1)
expect_after("mv LICENSE .. && ln -s ../LICENSE ." "changed: LICENSE (not a regular file)\n" 1)
expect_after("mkdir 'src/a b' && : >'src/a b/my own.cpp'" "added: src/a b/my own.cpp\n" 1)
expect_after(": >LICENS" "added: LICENS\n" 1)  # part of a name in MANIFEST
expect_after("sed -i /LICENSE/d MANIFEST" "added: LICENSE\n" 1)
expect_after("ln -s nowhere include/link.hpp" "added: include/link.hpp\n" 1)
expect_after("mv src/error.cpp src/mine.cpp && echo >LICENSE"
             "changed: LICENSE\nmissing: src/error.cpp\nadded: src/mine.cpp\n" 1)
expect_after("rm MANIFEST" "" 2)
expect_after("sed -i 's/  LICENSE/ LICENSE/' MANIFEST" "" 2)

# From any folder, and wherever the copy has been moved to.
file(RENAME ${copy} ${SCRATCH}/moved)
run(sh -c "cd / && '${SCRATCH}/moved/verify-manifest'")
