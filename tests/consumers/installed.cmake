# Installs heirlock, static or (SHARED) shared, at SCRATCH/prefix, which is not where it was configured for.
include(${CMAKE_CURRENT_LIST_DIR}/ways/support.cmake)
build(heirlock ${HEIRLOCK} -DBUILD_SHARED_LIBS=${SHARED} -DHEIRLOCK_BUILD_TESTS=OFF -DHEIRLOCK_BUILD_STRESS=OFF
      -DCMAKE_INSTALL_INCLUDEDIR=headers -DCMAKE_INSTALL_LIBDIR=lib/machine)
run(${CMAKE_COMMAND} --install ${SCRATCH}/heirlock --prefix ${SCRATCH}/prefix)
