// Names for the segments of tests: no two tests share one, and none outlives its test.
#ifndef HEIRLOCK_TESTS_SUPPORT_SEGMENT_NAME_HPP
#define HEIRLOCK_TESTS_SUPPORT_SEGMENT_NAME_HPP

#include <sys/types.h>

#include <string>
#include <string_view>

namespace support {

/// A name that no other test uses. Whatever stands at its path is removed with it; and when the test program
/// is killed or hangs, a process that waits for its end removes what it left.
class SegmentName {
 public:
  SegmentName();
  SegmentName(const SegmentName&) = delete;
  SegmentName& operator=(const SegmentName&) = delete;
  /// Removes nothing in a child forked meanwhile: the name is its parent's.
  ~SegmentName();

  operator std::string_view() const { return name_; }
  const std::string& str() const { return name_; }
  /// Where the segment stands, whether or not there is one.
  std::string path() const;
  /// Whether there is anything there.
  bool is_taken() const;

 private:
  const std::string name_;
  const pid_t maker_;
};

/// How many files in /dev/shm have names that begin like this segment's: a half-built one beside it would
/// count.
int files_that_begin_with(const SegmentName& name);

}  // namespace support
#endif
