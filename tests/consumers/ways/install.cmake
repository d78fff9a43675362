# Installs heirlock for the tests that use an installed one.
include(${CMAKE_CURRENT_LIST_DIR}/support.cmake)
build(heirlock ${HEIRLOCK} -DBUILD_SHARED_LIBS=${SHARED} -DCMAKE_BUILD_TYPE=None -DHEIRLOCK_BUILD_TESTS=OFF
      -DHEIRLOCK_BUILD_STRESS=OFF -DHEIRLOCK_BUILD_COMMAND=OFF -DCMAKE_INSTALL_INCLUDEDIR=headers
      -DCMAKE_INSTALL_LIBDIR=${LIBDIR})
run(${CMAKE_COMMAND} --install ${SCRATCH}/heirlock --prefix ${SCRATCH}/first)
# A package can be moved, and must not lead back to where it was built.
file(RENAME ${SCRATCH}/first ${PREFIX})
file(REMOVE_RECURSE ${SCRATCH}/heirlock)
