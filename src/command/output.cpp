#include "output.hpp"

#include <pwd.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cinttypes>
#include <cstdarg>
#include <cstdio>
#include <cstring>

namespace command {

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\')
      say(out, "\\%c", c);
    else if (byte < 0x20 || byte >= 0x7f)
      say(out, "\\u%04x", byte);
    else
      out += c;
  }
  return out + '"';
}

std::int64_t seconds_of(clockid_t clock) {
  timespec time{};
  clock_gettime(clock, &time);
  return time.tv_sec;
}

std::string printable(const std::string& text) {
  std::string out;
  for (const char c : text) out += detail::printable(c);
  return out;
}

namespace {

const char* name_of_state(char state) {
  switch (state) {
    case 'R':
      return "running";
    case 'S':
    case 'I':
      return "sleeping";
    case 'D':
      return "waiting for a device";
    case 'T':
      return "stopped";
    case 't':
      return "stopped by a debugger";
    case 'Z':
    case 'X':
      return "zombie";
    default:
      return "?";
  }
}

std::string duration(std::int64_t seconds) {
  const struct {
    std::int64_t seconds;
    char name;
  } units[] = {{86400, 'd'}, {3600, 'h'}, {60, 'm'}};
  for (const auto& unit : units)
    if (seconds >= 2 * unit.seconds) return std::to_string(seconds / unit.seconds) + unit.name;
  return std::to_string(seconds) + "s";
}

std::string name_of_user(uid_t user) {
  const passwd* const entry = getpwuid(user);
  return entry != nullptr ? entry->pw_name : std::to_string(user);
}

bool is_foreign(const Picture& picture, const Lock& lock) {
  return lock.pid_namespace != 0 && picture.pid_namespace != 0 && lock.pid_namespace != picture.pid_namespace;
}

std::string owner_of(const Picture& picture, const Lock& lock) {
  const std::string there = std::to_string(lock.owner_there);
  switch (lock.owner_is) {
    case Owner::none:
      return "";
    case Owner::seen:
      return id_of(lock.owner) + (is_foreign(picture, lock) ? " (" + there + " there)" : "");
    case Owner::dead:
      return there + " (dead)";
    case Owner::namespace_gone:
      return there + " in a namespace that is gone";
    case Owner::elsewhere:
      return there + " in another namespace";
    case Owner::hidden:
      return there + " (hidden)";
  }
  return "";
}

std::string waiters_of(const Lock& lock) {
  constexpr std::size_t most = 4;
  std::string text;
  for (std::size_t i = 0; i < std::min(lock.waiters.size(), most); ++i) {
    if (i != 0) text += ",";
    text += id_of(lock.waiters[i].task);
    if (lock.waiters[i].since != 0)
      text += " (" + duration(seconds_of(CLOCK_MONOTONIC) - lock.waiters[i].since) + ")";
  }
  if (lock.waiters.size() > most) text += " and " + std::to_string(lock.waiters.size() - most) + " more";
  if (!lock.all_waiters_seen) text += text.empty() ? "?" : ",?";
  return text;
}

const char* word_of(Owner owner) {
  switch (owner) {
    case Owner::none:
      return "none";
    case Owner::seen:
      return "seen";
    case Owner::dead:
      return "dead";
    case Owner::namespace_gone:
      return "namespace gone";
    case Owner::elsewhere:
      return "elsewhere";
    case Owner::hidden:
      return "hidden";
  }
  return "none";
}

void say_task(std::string& out, const Task& task) {
  say(out, "\"pid\":%d,\"tid\":%d,\"command\":%s,\"state\":\"%s\"", task.process, task.id,
      quoted(task.command).c_str(), name_of_state(task.state));
}

const Lock* awaited_by(const Picture& picture, pid_t thread) {
  for (const Lock& lock : picture.locks)
    for (const Waiter& waiter : lock.waiters)
      if (waiter.task.id == thread) return &lock;
  return nullptr;
}

bool outlives_a_boot(const Segment& segment) {
  unsigned long type = 0;
  return !segment.is_removed && !is_in_memory(segment.path, type).value_or(true);
}

// The owner's state, and what the user can do about it.
void say_owner(std::string& out, const Picture& picture, const Lock& lock) {
  const Task& owner = lock.owner;
  const std::string name = printable(who(owner));
  const Segment& segment = picture.segments[lock.segment];
  const std::string name_of_segment = printable(segment.name);
  const int pid = owner.process;
  if (is_foreign(picture, lock))
    say(out, "  The lock belongs to PID namespace %lu and cannot be used here, in %lu.\n",
        static_cast<unsigned long>(lock.pid_namespace), static_cast<unsigned long>(picture.pid_namespace));
  switch (lock.owner_is) {
    case Owner::none:
      return;
    case Owner::dead:
      say(out,
          "  The owner, thread %d, is dead%s, but the kernel has not marked the lock.\n"
          "Next: nothing. The next acquire() notices the death within a second and inherits the lock.\n",
          lock.owner_there, owner.state == 'Z' ? " (a zombie that its parent has not reaped)" : "");
      return;
    case Owner::namespace_gone:
      say(out,
          "  The owner was thread %d of that namespace, which has no process any more.\n"
          "Next: check the data under the lock, then remove the lock: heirlock remove %s\n",
          lock.owner_there, name_of_segment.c_str());
      return;
    case Owner::elsewhere:
      say(out,
          "  The owner is thread %d of that namespace, which cannot be seen from here.\n"
          "Next: ask on the host, as root: heirlock show %s. If the lock is of a container that is gone, and "
          "no\n"
          "      other container uses this /dev/shm: heirlock clean --foreign\n",
          lock.owner_there, name_of_segment.c_str());
      return;
    case Owner::hidden:
      say(out, "  The owner is thread %d, which this /proc hides.\nNext: ask as root.\n", lock.owner_there);
      return;
    case Owner::seen:
      break;
  }
  say(out, "  The owner is %s, %s, at depth %u.\n", name.c_str(), name_of_state(owner.state), lock.depth);
  if (is_foreign(picture, lock))
    say(out, "  There the owner is thread %d of process %d.\n", lock.owner_there, lock.process_there);
  const bool is_no_user =
      std::any_of(picture.processes.begin(), picture.processes.end(), [&](const Process& process) {
        const auto& users = segment.users;
        const auto index = static_cast<std::size_t>(&process - picture.processes.data());
        return process.leader.id == pid && process.is_seen &&
               std::find(users.begin(), users.end(), index) == users.end();
      });
  if (is_no_user && !segment.is_own_file) {  // whose device numbers may differ
    say(out,
        "  But process %d has not mapped the lock: the thread id was reused, or the lock was overwritten.\n"
        "Next: ask again. If nothing changes, do not kill the process. Check the data under the lock, then "
        "remove\n"
        "      the lock: heirlock remove %s\n",
        pid, name_of_segment.c_str());
  } else if (owner.state == 't' || owner.tracer != 0) {
    const std::optional<Task> tracer = task(owner.tracer);
    say(out, "Next: %s debugs it: continue or detach there.\n",
        tracer ? printable(who(*tracer)).c_str() : "a debugger");
  } else if (owner.state == 'T') {
    say(out, "Next: kill -CONT %d lets the owner go on; kill -KILL %d leaves the lock to the next owner.\n",
        pid, pid);
  } else if (const Lock* const awaited = awaited_by(picture, owner.id)) {
    const std::string other = printable(picture.name(*awaited));
    say(out, "  The owner waits for %s, which %s holds.\n", other.c_str(),
        awaited->owner_is == Owner::seen ? printable(who(awaited->owner)).c_str()
                                         : owner_of(picture, *awaited).c_str());
    for (const auto& links : picture.deadlocks)
      for (const Link& link : links)
        if (&picture.locks[link.holds] == &lock) {
          say(out,
              "Next: the owner is part of a deadlock, which lasts until one of its threads ends: kill -KILL "
              "%d leaves\n"
              "      its locks to the next owners. Then make all threads acquire these locks in the same "
              "order.\n",
              pid);
          return;
        }
    say(out, "Next: heirlock show %s\n", other.c_str());
  } else {
    say(out,
        "Next: see where the owner is: gdb -p %d -batch -ex 'thread apply all backtrace' (look for LWP %d).\n"
        "      If it will never release the lock: kill -KILL %d leaves the lock to the next owner.\n",
        pid, owner.id, pid);
  }
}

}  // namespace

void say(std::string& text, const char* format, ...) {
  std::va_list values, again;
  va_start(values, format);
  va_copy(again, values);
  const auto length = static_cast<std::size_t>(std::vsnprintf(nullptr, 0, format, values));
  const std::size_t before = text.size();
  text.resize(before + length + 1);
  std::vsnprintf(&text[before], length + 1, format, again);
  text.resize(before + length);
  va_end(again);
  va_end(values);
}

struct Column {
  const char* name;
  std::string (*text)(const Picture& picture, const Lock& lock, const Segment& segment);
  const char* meaning;
};

namespace {

constexpr const char* some = "?";
const Column all_columns[] = {
    {"NAME",
     [](const Picture& picture, const Lock& lock, const Segment& segment) {
       return picture.name(lock) + (segment.is_removed ? " (removed)" : "");
     },
     "the segment's name; +N for a lock at offset N in a larger object"},
    {"TYPE", [](const Picture&, const Lock&, const Segment& segment) { return segment.type(); },
     "lock, or the type of the larger object"},
    {"STATE",
     [](const Picture&, const Lock& lock, const Segment&) -> std::string { return name_of(lock.state); },
     "free, held, to be inherited (free, but an owner died), inherited (the same, but held)"},
    {"OWNER",
     [](const Picture& picture, const Lock& lock, const Segment&) { return owner_of(picture, lock); },
     "process/thread that holds the lock"},
    {"COMMAND", [](const Picture&, const Lock& lock, const Segment&) { return lock.owner.command; },
     "the owner's command"},
    {"OWNER-STATE",
     [](const Picture&, const Lock& lock, const Segment&) -> std::string {
       return lock.owner.id != 0 ? name_of_state(lock.owner.state) : "";
     },
     "running, sleeping, stopped, stopped by a debugger, waiting for a device, zombie"},
    {"DEPTH",
     [](const Picture&, const Lock& lock, const Segment&) {
       return lock.owner_there != 0 ? std::to_string(lock.depth) : "";
     },
     "how many releases the owner has to make"},
    {"MAPPED",
     [](const Picture&, const Lock&, const Segment& segment) { return std::to_string(segment.users.size()); },
     "how many processes have the segment mapped"},
    {"WAITERS", [](const Picture&, const Lock& lock, const Segment&) { return waiters_of(lock); },
     "process/thread that waits; ? if some cannot be examined"},
    {"LAYOUT",
     [](const Picture&, const Lock&, const Segment& segment) {
       return segment.header ? std::to_string(segment.header->version) : some;
     },
     "version of the memory layout"},
    {"AGE",
     [](const Picture&, const Lock&, const Segment& segment) {
       return segment.made != 0 ? duration(seconds_of(CLOCK_REALTIME) - segment.made) : some;
     },
     "time since the segment was created"},
    {"USER", [](const Picture&, const Lock&, const Segment& segment) { return name_of_user(segment.user); },
     "the segment's user"},
    {"PATH", [](const Picture&, const Lock&, const Segment& segment) { return segment.path; },
     "the segment's file"},
};

}  // namespace

const char default_columns[] = "NAME,TYPE,STATE,OWNER,COMMAND,OWNER-STATE,DEPTH,MAPPED,WAITERS,LAYOUT,AGE";

std::string names_of_columns() {
  std::string text;
  for (const Column& column : all_columns) say(text, "  %-12s %s\n", column.name, column.meaning);
  return text;
}

std::vector<const Column*> columns(const std::string& list) {
  std::vector<const Column*> found;
  for (std::size_t at = 0; at <= list.size();) {
    const std::size_t end = std::min(list.find(',', at), list.size());
    const std::string name = list.substr(at, end - at);
    const auto* const column =
        std::find_if(std::begin(all_columns), std::end(all_columns),
                     [&name](const Column& other) { return strcasecmp(name.c_str(), other.name) == 0; });
    if (column == std::end(all_columns)) {
      std::fprintf(stderr, "heirlock: there is no column '%s'; choose from:\n%s", name.c_str(),
                   names_of_columns().c_str());
      return {};
    }
    found.push_back(column);
    at = end + 1;
  }
  return found;
}

std::vector<const Lock*> own_locks(const Picture& picture) {
  std::vector<const Lock*> found;
  for (const Lock& lock : picture.locks)
    if (geteuid() == 0 || picture.segments[lock.segment].user == geteuid()) found.push_back(&lock);
  std::sort(found.begin(), found.end(), [&picture](const Lock* one, const Lock* other) {
    const auto key = [&picture](const Lock* lock) {
      return std::tie(picture.segments[lock->segment].name, lock->segment, lock->offset);
    };
    return key(one) < key(other);
  });
  return found;
}

std::string table(const Picture& picture, const std::vector<const Lock*>& locks,
                  const std::vector<const Column*>& columns) {
  std::vector<std::vector<std::string>> rows(1);
  for (const Column* const column : columns) rows[0].push_back(column->name);
  for (const Lock* const lock : locks) {
    rows.emplace_back();
    for (const Column* const column : columns) {
      rows.back().push_back(printable(column->text(picture, *lock, picture.segments[lock->segment])));
      if (rows.back().back().empty()) rows.back().back() = "-";
    }
  }
  std::vector<int> widths(columns.size());
  for (const auto& row : rows)
    for (std::size_t i = 0; i < row.size(); ++i)
      widths[i] = std::max(widths[i], static_cast<int>(row[i].size()));
  std::string text;
  for (const auto& row : rows) {
    for (std::size_t i = 0; i + 1 < row.size(); ++i) say(text, "%-*s  ", widths[i], row[i].c_str());
    say(text, "%s\n", row.back().c_str());
  }
  return text;
}

std::string deadlocks(const Picture& picture, const std::vector<const Lock*>& locks) {
  std::string text;
  for (const auto& links : picture.deadlocks) {
    if (std::none_of(links.begin(), links.end(), [&](const Link& link) {
          return std::find(locks.begin(), locks.end(), &picture.locks[link.holds]) != locks.end();
        }))
      continue;
    text += "DEADLOCK: ";
    for (const Link& link : links)
      say(text, "%s%s holds %s, waits for %s", &link == &links.front() ? "" : "; ",
          printable(who(link.task)).c_str(), printable(picture.name(picture.locks[link.holds])).c_str(),
          printable(picture.name(picture.locks[link.waits_for])).c_str());
    text += "\n";
  }
  return text;
}

std::vector<std::string> unseen(const Picture& picture, const std::vector<const Lock*>& locks) {
  std::vector<std::string> notes;
  if (!picture.trouble.empty()) notes.push_back(picture.trouble);
  if (picture.pid_namespace == 0) {
    notes.push_back(
        "there is no /proc of this PID namespace, so owners and waiters cannot be seen; mount it");
    return notes;
  }
  const std::string advice = std::string("; ") + who_sees_more();
  if (picture.hides_processes)
    notes.push_back("this /proc hides processes of other users (hidepid)" + advice);
  if (picture.has_other_mounts)
    notes.push_back(
        "some processes use another mount of /dev/shm, as containers do, and may have locks there; ask "
        "inside");
  const auto hidden =
      std::count_if(picture.processes.begin(), picture.processes.end(), [](const Process& process) {
        return !process.is_seen && (geteuid() == 0 || process.leader.runs_as(geteuid()));
      });
  if (hidden != 0)
    notes.push_back("cannot examine " + std::to_string(hidden) +
                    (hidden == 1 ? " process, which" : " processes, which") + " may have locks mapped" +
                    advice);
  if (!std::all_of(locks.begin(), locks.end(), [](const Lock* lock) { return lock->all_waiters_seen; }))
    notes.push_back("a ? means waiters that cannot be seen without the right to trace their processes" +
                    advice);
  return notes;
}

std::string json(const Picture& picture, const std::vector<const Lock*>& locks) {
  std::string out = "{\"locks\":[";
  const char* separator = "";
  for (const Lock* const lock : locks) {
    const Segment& segment = picture.segments[lock->segment];
    say(out, "%s\n{\"name\":%s,\"offset\":%" PRIu64 ",\"path\":%s,\"removed\":%s,\"type\":%s,\"state\":%s",
        std::exchange(separator, ","), quoted(segment.name).c_str(), lock->offset,
        segment.is_removed ? "null" : quoted(segment.path).c_str(), segment.is_removed ? "true" : "false",
        segment.header ? quoted(segment.type()).c_str() : "null",
        lock->state == State::unknown ? "null" : quoted(name_of(lock->state)).c_str());
    out += ",\"owner\":";
    if (lock->owner_is == Owner::none) {
      out += "null";
    } else {
      say(out, "{\"is\":\"%s\",\"tid_there\":%d,\"pid_there\":", word_of(lock->owner_is), lock->owner_there);
      say(out, lock->process_there != 0 ? "%d," : "null,", lock->process_there);
      if (lock->owner.id != 0)
        say_task(out, lock->owner);
      else
        out += "\"pid\":null,\"tid\":null,\"command\":null,\"state\":null";
      out += "}";
    }
    say(out, ",\"depth\":%u,\"pid_namespace\":", lock->depth);
    say(out, lock->pid_namespace != 0 ? "%lu" : "null", static_cast<unsigned long>(lock->pid_namespace));
    out += ",\"mapped_by\":[";
    for (const std::size_t user : segment.users) {
      say(out, "%s{", user == segment.users.front() ? "" : ",");
      say_task(out, picture.processes[user].leader);
      out += "}";
    }
    out += "],\"waiters\":[";
    for (const Waiter& waiter : lock->waiters) {
      say(out, "%s{", &waiter == &lock->waiters.front() ? "" : ",");
      say_task(out, waiter.task);
      out += "}";
    }
    say(out, "],\"all_waiters_seen\":%s,\"layout\":", lock->all_waiters_seen ? "true" : "false");
    say(out, segment.header ? "%u" : "null", segment.header ? segment.header->version : 0);
    say(out, ",\"made\":");
    say(out, segment.made != 0 ? "%" PRId64 : "null", segment.made);
    say(out, ",\"uid\":%u,\"trouble\":%s}", segment.user,
        segment.trouble.empty() ? "null" : quoted(segment.trouble).c_str());
  }
  out += "],\n\"deadlocks\":[";
  for (const auto& links : picture.deadlocks) {
    out += &links == &picture.deadlocks.front() ? "[" : ",[";
    for (const Link& link : links) {
      out += &link == &links.front() ? "{" : ",{";
      say_task(out, link.task);
      say(out, ",\"holds\":%s,\"waits_for\":%s}", quoted(picture.name(picture.locks[link.holds])).c_str(),
          quoted(picture.name(picture.locks[link.waits_for])).c_str());
    }
    out += "]";
  }
  out += "],\n\"unseen\":[";
  separator = "";
  for (const std::string& note : unseen(picture, locks))
    say(out, "%s%s", std::exchange(separator, ","), quoted(note).c_str());
  return out + "]}\n";
}

namespace {

// The segment or file, the lock's state, and why the state is unknown.
void say_place(std::string& out, const Picture& picture, const Lock& lock) {
  const Segment& segment = picture.segments[lock.segment];
  const std::string name = printable(segment.name);
  const std::string name_of_lock = printable(picture.name(lock));
  const std::string type =
      segment.header ? (segment.is_lock() ? "a lock" : "an object of type " + segment.type()) : "a file";
  if (segment.is_removed)
    say(out, "%s: %s whose name was removed, %" PRIu64 " bytes", name_of_lock.c_str(), type.c_str(),
        segment.size);
  else
    say(out, "%s: %s in %s, %" PRIu64 " bytes, user %s, mode %03o, created %s ago", name_of_lock.c_str(),
        type.c_str(), printable(segment.path).c_str(), segment.size, name_of_user(segment.user).c_str(),
        segment.mode & 07777, duration(seconds_of(CLOCK_REALTIME) - segment.made).c_str());
  if (segment.header) say(out, ", layout version %u", segment.header->version);
  out += "\n";
  if (lock.state != State::unknown)
    say(out, "  The lock is %s.\n", name_of(lock.state));
  else if (lock.is_other_memory)
    say(out, "  There is no lock at this place.\nNext: give the place of a lock: --offset N\n");
  else if (segment.is_own_file && segment.size != 0)
    say(out, "  No lock can be read at this place.\nNext: give the lock's place in the file: --offset N\n");
  else if (!segment.header)
    say(out, "  The state is unknown: %s.\n", segment.trouble.c_str());
  else if (segment.header->version != detail::SegmentHeader::current_version)
    say(out,
        "  This heirlock knows only layout version %u.\nNext: use the heirlock of the creator's version.\n",
        detail::SegmentHeader::current_version);
  else
    say(out,
        "  No lock in it is known to be held.\n"
        "Next: give the place of a lock, offsetof(TYPE, MEMBER): heirlock show %s --offset N\n",
        name.c_str());
}

}  // namespace

std::string words(const Picture& picture, const Lock& lock) {
  const Segment& segment = picture.segments[lock.segment];
  const std::string name = printable(segment.name);
  std::string out;
  say_place(out, picture, lock);
  if (const std::string refusal = segment.refusal(); !refusal.empty())
    say(out, "  Programs refuse to open the segment: %s.\n", refusal.c_str());
  if (!segment.users.empty())
    say(out, "  The segment is %s.\n", printable(users_of(picture, segment)).c_str());
  for (const Waiter& waiter : lock.waiters) {
    say(out, "  %s waits, %s", printable(who(waiter.task)).c_str(), name_of_state(waiter.task.state));
    if (waiter.since != 0) say(out, ", for %s", duration(seconds_of(CLOCK_MONOTONIC) - waiter.since).c_str());
    out += ".\n";
  }
  if (!lock.all_waiters_seen) say(out, "  There may be waiters that cannot be seen; %s.\n", who_sees_more());
  if (lock.state == State::to_be_inherited)
    say(out,
        "  An owner died, and nobody has called repaired() since. The data may be half-written.\n"
        "Next: a program that calls acquire() inherits the lock, repairs the data and calls repaired(). "
        "Until\n"
        "      then lock() and try_lock() fail with owner_dead. If the data needs no repair:\n"
        "      heirlock run %s --repaired -- true\n",
        name.c_str());
  if (lock.state == State::inherited)
    say(out,
        "  The owner has inherited the lock and must repair the data and call repaired(). If it releases "
        "the\n"
        "  lock without that, the next owner inherits, too.\n");
  say_owner(out, picture, lock);
  if (is_foreign(picture, lock) && lock.owner_is == Owner::none)
    say(out, "Next: if that was a container that is gone, remove the lock: heirlock remove %s\n",
        name.c_str());
  if (lock.state != State::unknown && !lock.is_all_zero && outlives_a_boot(segment)) {
    const std::int64_t boot = seconds_of(CLOCK_REALTIME) - seconds_of(CLOCK_BOOTTIME);
    say(out,
        "  %s\n"
        "Next: fill the lock's 40 bytes with zeros before its first use after a boot, or put the file on a "
        "tmpfs.\n",
        segment.written < boot
            ? "The lock was last written before this boot: its owner and namespace mean nothing now."
            : "The file outlives a boot; the owner and namespace in it then mean nothing.");
  }
  if (segment.is_removed)
    say(out,
        "Next: restart these processes: they share no lock with processes that open the name now. If nobody\n"
        "      removed the name, systemd may have done so at the user's logout (RemoveIPC): use a system "
        "user,\n"
        "      loginctl enable-linger, or RemoveIPC=no in logind.conf.\n");
  return out;
}

}  // namespace command
