// One run: one victim that is stepped to one kill point, the others around it, one or two deaths, and what
// must follow.
#ifndef HEIRLOCK_TESTS_CRASH_RUN_HPP
#define HEIRLOCK_TESTS_CRASH_RUN_HPP

#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "stepped.hpp"
#include "world.hpp"

namespace crash {

class Run;

/// Everything but `body` happens without being stepped. The steps that take a Run are its own process's.
struct Scenario {
  const char* name;
  std::function<void(World&)> body;                          ///< of the victim: this is stepped
  std::function<void(World&)> prepared = [](World&) {};      ///< by the victim
  std::function<void(Run&)> before = [](Run&) {};            ///< before the victim is made
  std::function<void(Run&)> around = [](Run&) {};            ///< when it is prepared
  std::function<void(Run&, int)> asleep = [](Run&, int) {};  ///< when it has fallen asleep, for the n-th time
  std::function<void(Run&)> kill = nullptr;                  ///< at the kill point; null: kills the victim
  std::function<void(Run&)> after = [](Run&) {};             ///< so that nothing holds up the survivors
  std::function<bool(Run&)> settle =
      nullptr;  ///< in place of survivors: judges, and returns whether something is left
};

/// Where a victim stands when it happens.
struct Point {
  enum class Kind {
    instruction,  ///< about to execute this one
    asleep,       ///< in the kernel
    woken,        ///< in the kernel, perhaps; those who woke it have just done so
  };
  Kind kind;
  std::uintptr_t address;  ///< of the instruction
  int count;               ///< how often it was there before; or how often it had slept
  /// Whether what outlives the process may differ from what did at the point before.
  bool is_new_state = true;
};

struct Party {
  pid_t pid = 0;
  std::size_t desk = 0;
  Site* site = nullptr;
  bool is_alive = false;
  std::optional<Stepped> stepped;  ///< if it is traced

  bool is_traced() const { return stepped.has_value(); }
};

/// When one comes that has nothing to do with all this. It may overtake those who were woken; and it may
/// hide that nobody was, since its release wakes one.
enum class Newcomer { comes_at_once, comes_last };

/// What one kill came to.
struct Outcome {
  bool was_reached = true;  ///< the kill point
  std::vector<std::string> complaints;
  bool was_inherited = false;  ///< a lock, as its word had promised; or something was left
  int survivors = 0;
};

class Run {
 public:
  Run(World& of, const Scenario& scenario) : world(of), scenario_(scenario) {}
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;
  /// Kills whoever is left.
  ~Run();

  /// Steps through the whole body and returns each point at which its process can be killed.
  std::vector<Point> scout();
  /// Steps to the point, kills there, and judges what follows.
  Outcome kill_at(const Point& point, Newcomer newcomer);

  // --- For scenarios ---------------------------------------------------------------------------------------
  World& world;
  Party& victim() { return *victim_; }
  Site& site(std::size_t i = 0) { return world.sites[i]; }
  /// A process that lives as survive() says, if nobody kills it.
  Party& party(Then then = Then::release, std::size_t site = 0);
  /// The same, returned when it owns the lock.
  Party& owner(Then then = Then::hold);
  /// The same, returned when it is asleep on the lock.
  Party& sleeper(std::size_t site = 0);
  /// The same, returned when it either owns the lock, and holds it, or is asleep on it.
  Party& barger();
  /// The same, asleep; when it is woken it stops at once, until it is let go.
  Party& sleeper_that_stops();
  /// An owner takes the lock and dies, and leaves the record half-written.
  void let_an_owner_die();
  /// Says that the first survivor to get the lock is to inherit, wherever the victim is killed.
  void promise_inheritance();
  /// Lets an owner release; waits until it has.
  void release(Party& party);
  void let_go(Party& party);
  /// By SIGKILL. Whatever it owns is from now on to be inherited.
  void kill(Party& party);
  /// The same when the victim is there to inherit it: what is left then, the victim's own death shows.
  void kill_unheard(Party& party);
  void complain(const std::string& text) { outcome_.complaints.push_back(text); }
  /// Between the scenario's steps.
  std::map<std::string, Party*> cast;

 private:
  Party& make(const std::function<void(std::size_t)>& life, bool is_traced, std::size_t site);
  void make_victim();
  Stop wait_for_victim();
  bool reach(const Point& point);
  std::string what_outlives_the_victim() const;
  void note_promise(const Party& dying);
  bool wait_at(sem_t& gate, const Party& party, const char* what);
  void let_a_newcomer_in();
  bool have_all_released();
  void judge();
  void judge_death(Party& party);
  std::vector<const void*> futexes() const {
    return {&world.sites[0].memory, &world.sites[1].memory, &world.pause.is_over};
  }

  const Scenario& scenario_;
  std::list<Party> parties_;
  Party* victim_ = nullptr;
  Party* newcomer_ = nullptr;
  int sleeps_ = 0;
  std::optional<Point> goal_;
  std::set<std::pair<const Site*, std::size_t>> promised_;  // which acquires of which site inherit
  Outcome outcome_;
};

}  // namespace crash
#endif
