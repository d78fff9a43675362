// Boost's recursive mutex for peers.py. Empty if Boost is not installed.
#if __has_include(<boost/version.hpp>)
#include <boost/date_time/posix_time/posix_time.hpp>
#include <boost/interprocess/sync/interprocess_recursive_mutex.hpp>
#include <boost/version.hpp>
#include <new>

using Mutex = boost::interprocess::interprocess_recursive_mutex;
static_assert(sizeof(Mutex) <= 64);

extern "C" {
const char* version() {
  return BOOST_LIB_VERSION;
}
void make(Mutex* mutex) {
  ::new (static_cast<void*>(mutex)) Mutex;
}
void acquire(Mutex* mutex) {
  mutex->lock();
}
int acquire_within_a_second(Mutex* mutex) {
  using namespace boost::posix_time;
  return mutex->timed_lock(microsec_clock::universal_time() + seconds(1));
}
void release(Mutex* mutex) {
  mutex->unlock();
}
}
#endif
