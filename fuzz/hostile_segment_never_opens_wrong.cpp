// Arbitrary files where a named segment is looked for: each is refused cleanly and left as it is, or opens as
// the object that it rightly holds, and then that object works.
//
// Input: who opens as what, what stands there and who may write it, how its size differs from what it should
// be, and its bytes. Those may be counted from a sound segment (by exclusive or), so that zeros are a segment
// that opens and a mutation is one field that differs.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <string>
#include <string_view>
#include <system_error>

#include "heirlock/lockable.hpp"
#include "heirlock/shared.hpp"
#include "support/input.hpp"
#include "support/lock_probe.hpp"
#include "support/segment_name.hpp"

namespace {

using fuzz::Input;
using fuzz::require;
using heirlock::AcquireResult;
using heirlock::errc;
using heirlock::ReentrantLock;
using heirlock::Shared;

constexpr std::size_t header_size = 256;
constexpr std::size_t most_bytes = 8192;
constexpr uid_t nobody = 65534;

// --- What is opened ---

struct Byte {
  std::uint8_t byte = 7;
};
struct Account {
  std::uint64_t owner = 7, balance = 9;
};
struct Ledger {  // an account by its size, and something else
  std::uint64_t owner = 7, balance = 9;
};
struct alignas(64) OneLine {
  std::uint64_t value = 7;
};
struct alignas(4096) OnePage {
  std::uint64_t value = 7;
};
struct MoreThanAPage {
  std::uint64_t values[600] = {7};
};

// What a segment of this type must be, written down from SPECIFICATION.md, section 8, and not asked of the
// library.
struct Kind {
  std::string_view mangled;
  std::uint64_t size, alignment;
  void (*open)(const Kind& as, bool or_create, Input& input);
};

template <class T>
void open_shared(const Kind& as, bool or_create, Input& input);
void open_lockable(const Kind& as, bool or_create, Input& input);

const Kind kinds[] = {
    {"N12_GLOBAL__N_14ByteE", 1, 1, open_shared<Byte>},
    {"N12_GLOBAL__N_17AccountE", 16, 8, open_shared<Account>},
    {"N12_GLOBAL__N_16LedgerE", 16, 8, open_shared<Ledger>},
    {"N12_GLOBAL__N_17OneLineE", 64, 64, open_shared<OneLine>},
    {"N12_GLOBAL__N_17OnePageE", 4096, 4096, open_shared<OnePage>},
    {"N12_GLOBAL__N_113MoreThanAPageE", 4800, 8, open_shared<MoreThanAPage>},
    {"N8heirlock13ReentrantLockE", 40, 8, open_shared<ReentrantLock>},
    {"N8heirlock13ReentrantLockE", 40, 8, open_lockable},
};
constexpr std::size_t lockable = std::size(kinds) - 1;

struct Header {
  char magic[8];
  std::uint32_t version, object_offset;
  std::uint64_t object_size, object_alignment, fingerprint, file_size;
  char type_name[208];
};
static_assert(sizeof(Header) == header_size);

Header sound_header_of(const Kind& kind) {
  Header header{{'h', 'e', 'i', 'r', 'l', 'o', 'c', 'k'}, 1, 256, kind.size, kind.alignment, 0, 0, {}};
  if (kind.alignment > 256) header.object_offset = static_cast<std::uint32_t>(kind.alignment);
  header.fingerprint = 14695981039346656037U;
  for (const char character : kind.mangled)
    header.fingerprint = (header.fingerprint ^ static_cast<unsigned char>(character)) * 1099511628211U;
  header.file_size = header.object_offset + kind.size;
  kind.mangled.copy(header.type_name, 207);
  return header;
}

// --- What stands there ---

enum class There : std::uint8_t {
  a_file,
  nothing,
  a_second_name,
  a_symbolic_link,
  a_directory,
  a_fifo,
  a_socket
};
constexpr std::size_t things = 7;

// One file, written anew for each input, which has the segment's name or leads to it.
class Stage {
 public:
  Stage() : path_(name_.path()), file_path_(other_.path()) {}

  std::string_view name() const { return name_; }
  const std::string& path() const { return path_; }

  /// Makes the file of these bytes, and `size` long.
  void set(There there, const unsigned char* bytes, std::size_t count, std::uint64_t size, mode_t mode,
           bool foreign) {
    const int file = open(file_path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    bool done = file >= 0 && ftruncate(file, 0) == 0 && ftruncate(file, static_cast<off_t>(size)) == 0;
    const std::size_t fitting = count < size ? count : static_cast<std::size_t>(size);
    done = done && pwrite(file, bytes, fitting, 0) == static_cast<ssize_t>(fitting);
    done = done && (!foreign || fchown(file, nobody, nobody) == 0) && fchmod(file, mode) == 0;
    require(done && close(file) == 0, "the target can write a file in /dev/shm");
    require(put(there), "the target can set a trap in /dev/shm");
  }
  void clear() {
    unlink(path_.c_str());
    rmdir(path_.c_str());
    unlink(file_path_.c_str());
  }

 private:
  bool put(There there) {
    switch (there) {
      case There::a_file:
        return rename(file_path_.c_str(), path_.c_str()) == 0;
      case There::nothing:
        return true;
      case There::a_second_name:
        return link(file_path_.c_str(), path_.c_str()) == 0;
      case There::a_symbolic_link:
        return symlink(file_path_.c_str(), path_.c_str()) == 0;
      case There::a_directory:
        return mkdir(path_.c_str(), 0700) == 0;
      case There::a_fifo:
        return mkfifo(path_.c_str(), 0600) == 0;
      case There::a_socket:
        return mknod(path_.c_str(), S_IFSOCK | 0600, 0) == 0;
    }
    return false;
  }

  const support::SegmentName name_, other_;
  const std::string path_, file_path_;
};

Stage& stage() {
  static Stage only;
  return only;
}

// What can be told of a file without opening it as a segment.
struct Snapshot {
  struct stat status = {};
  std::string bytes;
};

Snapshot snapshot(const std::string& path) {
  Snapshot taken;
  if (lstat(path.c_str(), &taken.status) != 0 || !S_ISREG(taken.status.st_mode)) return taken;
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return taken;  // its mode forbids it to who is not root
  taken.bytes.resize(most_bytes);
  const ssize_t got = pread(file, taken.bytes.data(), taken.bytes.size(), 0);
  taken.bytes.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  close(file);
  return taken;
}

bool equal(const Snapshot& one, const Snapshot& two) {
  return one.bytes == two.bytes && one.status.st_ino == two.status.st_ino &&
         one.status.st_mode == two.status.st_mode && one.status.st_size == two.status.st_size &&
         one.status.st_nlink == two.status.st_nlink && one.status.st_uid == two.status.st_uid;
}

// --- The object that was opened ---

// Where the file says that the object's bytes are.
std::string object_in_file(const Kind& of) {
  const Header sound = sound_header_of(of);
  const Snapshot now = snapshot(stage().path());
  return now.bytes.substr(std::min<std::size_t>(sound.object_offset, now.bytes.size()), of.size);
}

template <class T>
std::string_view bytes_of(const T& object) {
  return {reinterpret_cast<const char*>(&object), sizeof object};
}

template <class T>
void require_the_object_of_the_file(const T& object, const Kind& as) {
  require(reinterpret_cast<std::uintptr_t>(&object) % as.alignment == 0, "an object is aligned as its type");
  require(bytes_of(object) == object_in_file(as), "an object's bytes are those of the file");
}

template <class T>
void use(T& object, Input&) {
  auto* const last = reinterpret_cast<unsigned char*>(&object) + sizeof object - 1;
  *last = static_cast<unsigned char>(*last + 1);
}

// Its bytes are arbitrary; hostile_lock_memory_never_hangs says more of what comes of that.
void use(ReentrantLock& lock, Input& input) {
  if (support::shows_callers_id(lock)) return;  // it would rightly be the caller's
  const AcquireResult result =
      input.take() % 16 == 1 ? lock.acquire_for(std::chrono::microseconds(50)) : lock.try_acquire();
  require(result != AcquireResult::reentered, "nobody owns a lock by what a file says");
  if (result == AcquireResult::not_acquired) return;
  require(lock.is_owned() && lock.depth() == 1, "who has taken a lock owns it at depth 1");
  if (result == AcquireResult::inherited) lock.repaired();
  lock.release();
  require(lock.owner() == 0 && !lock.needs_repair(), "a lock that was mended and released is free");
}

class Named : public heirlock::Lockable {
 public:
  explicit Named(std::string_view name) : Lockable(name) {}

 private:
  void recover() override {}
};

void use(Named& object, Input&) {
  if (support::shows_callers_id(object.mutex())) return;
  if (!object.acquire(false)) return;
  require(!object.mutex().needs_repair(), "a Lockable that was inherited is mended");
  object.release();
  require(object.mutex().owner() == 0, "a Lockable that was released is free");
}

// A lock may be of another PID namespace, by its bytes: refused, and nothing else is the matter with it.
template <class T>
void use_unless_foreign(T& object, Input& input) {
  try {
    use(object, input);
  } catch (const std::system_error& error) {
    require(error.code() == errc::foreign_pid_namespace, "a lock is refused for its PID namespace alone");
  }
}

template <class T>
void open_shared(const Kind& as, bool or_create, Input& input) {
  const std::string_view name = stage().name();
  const Shared<T> opened = or_create ? Shared<T>::open_or_create(name) : Shared<T>::open(name);
  require_the_object_of_the_file(*opened, as);
  use_unless_foreign(*opened, input);
  require(bytes_of(*opened) == object_in_file(as), "what is written to an object is shared");
}

void open_lockable(const Kind& as, bool, Input& input) {
  Named object(stage().name());
  require_the_object_of_the_file(object.mutex(), as);
  use_unless_foreign(object, input);
}

// --- One input ---

struct Case {
  std::uint8_t opened_as, sound_for;  // kinds
  bool or_create, is_counted_from_sound, foreign;
  There there;
  mode_t mode;
  std::uint64_t size;
  unsigned char bytes[most_bytes];
  std::size_t count;
};

constexpr std::uint64_t largest_size = std::uint64_t{1} << 40;  // a file may be longer than memory

Case read(Input& input) {
  Case is{};
  is.opened_as = input.take() % std::size(kinds);
  is.sound_for = input.take() % std::size(kinds);
  const auto flags = input.take();
  is.or_create = (flags & 1) != 0;
  is.is_counted_from_sound = (flags & 2) == 0;
  is.foreign = (flags & 4) != 0 && geteuid() == 0;
  // Mostly the same kind, and a file: what is deeper is behind these.
  if ((flags & 8) == 0) is.sound_for = is.opened_as;
  is.there = (flags & 16) == 0 ? There::a_file : static_cast<There>(input.take() % things);
  is.mode = (flags & 32) == 0 ? 0600 : (input.take<std::uint16_t>() & 0777);
  const std::int64_t longer = (flags & 64) == 0 ? 0 : input.take<std::int16_t>();
  const std::uint64_t huge = (flags & 128) == 0 ? 0 : input.take<std::uint64_t>() % largest_size;

  Header sound = sound_header_of(kinds[is.sound_for]);
  input.fill(is.bytes, header_size);
  input.fill(is.bytes + sound.object_offset,
             std::min<std::size_t>(sizeof(ReentrantLock), kinds[is.sound_for].size));
  is.count = static_cast<std::size_t>(sound.file_size);
  is.size = huge != 0 ? huge
                      : static_cast<std::uint64_t>(
                            std::max<std::int64_t>(0, static_cast<std::int64_t>(sound.file_size) + longer));
  if (!is.is_counted_from_sound) return is;
  unsigned char template_bytes[header_size];
  std::memcpy(template_bytes, &sound, header_size);
  for (std::size_t i = 0; i < header_size; ++i) is.bytes[i] ^= template_bytes[i];
  return is;
}

enum class Verdict { opens, is_absent, is_not_trusted, is_a_mismatch, is_forbidden };

// SPECIFICATION.md, section 8, in its order.
Verdict verdict_on(const Case& is) {
  if (is.there == There::nothing)
    return is.or_create || is.opened_as == lockable ? Verdict::opens : Verdict::is_absent;
  if (is.there != There::a_file || is.foreign || (is.mode & 0022) != 0) return Verdict::is_not_trusted;
  if (geteuid() != 0 && (is.mode & 0600) != 0600) return Verdict::is_forbidden;
  const Header sound = sound_header_of(kinds[is.opened_as]);
  const bool is_sound = is.size == sound.file_size && is.count >= header_size &&
                        std::memcmp(is.bytes, &sound, header_size) == 0;
  return is_sound ? Verdict::opens : Verdict::is_a_mismatch;
}

std::error_condition reason(Verdict verdict) {
  switch (verdict) {
    case Verdict::is_absent:
      return std::errc::no_such_file_or_directory;
    case Verdict::is_forbidden:
      return std::errc::permission_denied;
    case Verdict::is_not_trusted:
      return make_error_code(errc::not_trusted).default_error_condition();
    case Verdict::is_a_mismatch:
      return make_error_code(errc::layout_mismatch).default_error_condition();
    case Verdict::opens:
      break;
  }
  return {};
}

void require_rightly_refused(const std::system_error& error, Verdict verdict) {
  require(verdict != Verdict::opens, "a sound segment opens");
  require(error.code() == reason(verdict), "a segment is refused for what is wrong with it");
  require(std::string_view(error.what()).find(stage().path()) != std::string_view::npos,
          "a refusal names the file");
}

}  // namespace

// Spec: shared.layout, shared.trust, shared.open
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input input(data, size);
  const Case is = read(input);
  const Verdict expected = verdict_on(is);
  stage().set(is.there, is.bytes, is.count, is.size, is.mode, is.foreign);
  const Snapshot before = snapshot(stage().path());
  try {
    kinds[is.opened_as].open(kinds[is.opened_as], is.or_create, input);
    require(expected == Verdict::opens, "a segment opens only if all of it is right");
  } catch (const std::system_error& error) {
    require_rightly_refused(error, expected);
    require(equal(before, snapshot(stage().path())), "a refused segment is not touched");
  }
  const heirlock::detail::LinuxThread* const me = heirlock::detail::LinuxPlatform::known_thread();
  require(me == nullptr || (me->robust_list->list_op_pending == nullptr &&
                            me->robust_list->list.next == &me->robust_list->list),
          "no lock of a closed segment is on the thread's robust list");
  stage().clear();
  return 0;
}
