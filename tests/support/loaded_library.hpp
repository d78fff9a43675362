// A shared library that a test loads, and that nobody else sees.
#ifndef HEIRLOCK_TESTS_SUPPORT_LOADED_LIBRARY_HPP
#define HEIRLOCK_TESTS_SUPPORT_LOADED_LIBRARY_HPP

#include <dlfcn.h>

#include <cstdlib>
#include <cstring>

namespace support {

/// Loaded until the process ends. What is not there ends the process.
class LoadedLibrary {
 public:
  explicit LoadedLibrary(const char* path) : handle_(dlopen(path, RTLD_NOW | RTLD_LOCAL)) {
    if (handle_ == nullptr) std::abort();
  }

  /// Sets a pointer to the function of this name.
  template <class Function>
  void look_up(const char* name, Function& function) const {
    void* const found = dlsym(handle_, name);
    if (found == nullptr) std::abort();
    std::memcpy(&function, &found, sizeof found);
  }

 private:
  void* const handle_;
};

}  // namespace support
#endif
