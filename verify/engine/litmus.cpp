// Claim:   of each program below the search finds the outcomes that C++11 allows, and no others; with sleep
//          sets and without. The exceptions are listed as gaps.
// Threads: 2 to 4.
// Search:  every execution, with sleep sets and then without.
#include <bitset>

#include "model/scenario.hpp"

namespace {
using namespace heirlock::verify;

// Litmus tests. `|` separates the threads. Their steps:
//   x=1    stores 1
//   x      loads x, and notes it
//   x:01   a compare-exchange from 0 to 1; notes 1 if it was made, else 0
//   fence  a release fence
//   x?     sleeps while x is 0, until woken or until its time is over; notes 1 if it was woken
//   x!     wakes one sleeper; notes how many were woken
// A step is relaxed unless it ends in .acq or .rel: the lock uses no other orders. After `;` stand the
// variables whose last value is noted. An outcome is all that was noted, from left to right.
struct Program {
  const char* name;
  const char* text;
  const char* allowed;
  // Of the outcomes: those that C++11 allows and the search misses, or forbids and the search finds.
  const char* gaps = "";
};

constexpr Program programs[] = {
    {"message passing", "x=1 y=1.rel | y.acq x", "00 01 11"},
    {"message passing, relaxed", "x=1 y=1 | y x", "00 01 10 11"},
    {"message passing, no acquire", "x=1 y=1.rel | y x", "00 01 10 11"},
    {"message passing, no release", "x=1 y=1 | y.acq x", "00 01 10 11"},
    {"message passing, fence", "x=1 fence y=1 | y.acq x", "00 01 11"},
    {"message passing, fence too early", "fence x=1 y=1 | y.acq x", "00 01 10 11"},
    {"message passing, exchanges", "x=1 y:01.rel | y:12.acq x", "100 101 111"},
    {"message passing, relaxed exchange", "x=1 y:01 | y:12.acq x", "100 101 110 111"},
    {"message passing, relaxed take", "x=1 y:01.rel | y:12 x", "100 101 110 111"},

    {"release sequence, own store", "x=1 y=1.rel y=2 | y.acq x", "00 01 11 21"},
    {"release sequence, other's exchange", "x=1 y=1.rel | y:12 | y.acq x", "000 001 011 100 101 111 121"},
    {"release sequence, other's store", "x=1 y=1.rel | y=2 | y.acq x ; y",
     "001 002 011 012 111 112 201 202 211 212"},
    // In C++11 the thread that began a sequence may continue it by stores; in Relacy the last thread in it.
    {"release sequence, other's exchange, store", "x=1 y=1.rel | y:12 y=3 | y.acq x",
     "000 001 011 030 031 100 101 111 121 130 131", "130"},
    {"release sequence, own store after other's", "x=1 y=1.rel y=3 | y:12 | y.acq x",
     "000 001 011 031 100 101 111 121 131", "130"},

    {"store buffering", "x=1 y | y=1 x", "00 01 10 11"},
    {"store buffering, acquire, release", "x=1.rel y.acq | y=1.rel x.acq", "00 01 10 11"},

    {"coherence, read-read", "x=1 | x x", "00 01 11"},
    {"coherence, write-write", "x=1 x=2 | x x", "00 01 02 11 12 22"},
    {"coherence, write-read", "x=1 x | x=2 ; x", "11 12 22"},
    {"coherence, read-write", "x x=1 | x=2 ; x", "01 02 21"},
    {"coherence, two writers", "x=1 | x=2 | x x ; x", "001 002 011 012 021 022 111 112 122 211 221 222"},
    {"coherence, exchanges", "x:01 | x:02 ; x", "101 012"},

    {"write-to-read causality", "x=1 | x y=1.rel | y.acq x", "000 001 010 011 100 101 111"},
    {"R", "x=1 y=1 | y=2 x ; y", "01 02 11 12"},

    // Relacy performs no store before an earlier load or store of the same thread.
    {"load buffering", "x y=1 | y x=1", "00 01 10 11", "11"},
    {"S", "x=2 y=1 | y x=1 ; x", "01 02 11 12", "12"},
    {"S, acquire, release", "x=2 y=1.rel | y.acq x=1 ; x", "01 02 11"},
    {"2+2W", "x=1 y=2 | y=1 x=2 ; x y", "11 12 21 22", "11"},
    {"failed exchange", "x=1 y=1 | y x:12", "00 01 10 11", "10"},
    {"more than three values", "x=1 x=2 x=3 y=1 | y x", "00 01 02 03 10 11 12 13", "10"},

    {"wake-up or time over", "x? y=1 | y x!", "000 010 101"},
    {"wake-up of one", "x? | x? | x!", "000 011 101"},

    {"IRIW, acquire, release", "x=1.rel | y=1.rel | x.acq y.acq | y.acq x.acq",
     "0000 0001 0010 0011 0100 0101 0110 0111 1000 1001 1010 1011 1100 1101 1110 1111"},
};

using Outcomes = std::bitset<10'000>;

Outcomes outcomes_of(const char* words) {
  Outcomes outcomes;
  std::istringstream stream(words);
  for (std::size_t outcome; stream >> outcome;) outcomes.set(outcome);
  return outcomes;
}

// Of the program that is searched now.
const Program* program;
Outcomes expected, found;

struct Litmus : Scenario<Litmus, 4> {
  ModelAtomic<std::uint32_t> variables[2];
  char notes[64] = "";  // each at the offset of its step in the text

  void play() { make_steps_of(rl::ctx().current_thread()); }
  // Hides that of Scenario: the steps of the kernel's exit walk would only multiply the executions.
  void thread(unsigned) override {
    if (_setjmp(kernel.me().end_of_role) == 0) play();
  }

  void at_the_end() {
    make_steps_of(thread_count);
    if (choices().is_redundant()) return;  // another execution must show the same
    char outcome[8] = "";
    std::remove_copy(std::begin(notes), std::end(notes), outcome, '\0');
    found.set(std::strtoul(outcome, nullptr, 10));
    static char words[64];
    std::snprintf(words, sizeof words, "the outcome %s is not one of the table", outcome);
    expect((found & ~expected).none(), words);
  }

  static constexpr Role roles[] = {{"thread", &Litmus::play}};

 private:
  void make_steps_of(int thread) {
    int part = 0;
    for (const char* at = program->text; *at != '\0'; at += std::strspn(at, " ")) {
      const std::size_t length = std::strcspn(at, " ");
      if (*at == '|')
        ++part;
      else if (*at == ';')
        part = thread_count;
      else if (part == thread)
        make_step(std::string(at, length), notes[at - program->text]);
      at += length;
    }
  }

  void make_step(const std::string& step, char& note) {  // too short to be allocated
    kernel.tell("%s", step.c_str());
    auto& variable = variables[step[0] == 'y' ? 1 : 0];
    const Order order = step.find(".acq") != step.npos   ? Order::acquire
                        : step.find(".rel") != step.npos ? Order::release
                                                         : Order::relaxed;
    const auto digit = [&](std::size_t at) { return static_cast<std::uint32_t>(step[at] - '0'); };
    const auto noted = [&](std::uint32_t value) { note = static_cast<char>('0' + value); };
    if (step == "fence") return ModelPlatform::fence(variable, Order::release);
    switch (step.size() == 1 ? '.' : step[1]) {
      case '=':
        return variable.store(digit(2), order);
      case '.':
        return noted(variable.load(order));
      case ':':
        return noted(variable.compare_exchange(digit(2), digit(3), order));
      case '!':
        return noted(static_cast<std::uint32_t>(ModelPlatform::wake_one(variable)));
      case '?':
        ModelThread& me = kernel.me();
        ModelPlatform::Patience patience(me);
        ModelPlatform::wait(variable, 0, Deadline::passes_at_some_time, patience);
        return noted(me.has_ever_been_woken);
    }
  }
};

// Runs a program, and says which outcome of the table is missing then.
Row litmus(const Program& of, Search search) {
  Row litmus = row<Litmus>(of.name, search);
  litmus.threads = 1 + static_cast<int>(std::count(of.text, of.text + std::strlen(of.text), '|'));
  litmus.prepare = [&of] {
    program = &of;
    expected = outcomes_of(of.allowed) ^ outcomes_of(of.gaps);
    found.reset();
  };
  litmus.missing = [&of] {
    std::istringstream words(std::string(of.allowed) + " " + of.gaps);
    for (std::string word; words >> word;)
      if (const std::size_t outcome = std::stoul(word); expected[outcome] && !found[outcome]) return word;
    return std::string();
  };
  return litmus;
}

std::vector<Row> rows() {
  std::vector<Row> rows;
  for (const Program& each : programs) {
    rows.push_back(litmus(each, every_execution()));
    rows.push_back(litmus(each, every_execution_with(1'000)));  // enough for all of them, and not reduced
  }
  return rows;
}

const Check check(__FILE__, rows());

}  // namespace
