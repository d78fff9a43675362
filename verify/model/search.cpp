#include "model/search.hpp"

#include <chrono>
#include <cstdio>

namespace heirlock::verify {

bool telling = false;

namespace {

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

bool Access::is_independent_of(const Access& other) const {
  const auto meet = [&](unsigned one, unsigned another) {
    return ((kind & one) != 0 && (other.kind & another) != 0) ||
           ((kind & another) != 0 && (other.kind & one) != 0);
  };
  if (at != other.at) return true;
  if (meet(reads, writes)) return false;
  if (meet(writes, writes)) return false;
  if (meet(queues, queues)) return false;
  return true;
}

void Choices::start(const Search& search, std::uint64_t seed, double time_limit) {
  *this = Choices{};
  search_ = search;
  seed_ = seed;
  time_limit_ = time_limit;
  started_ = now();
}

double Choices::seconds() const {
  return now() - started_;
}

void Choices::repeat(const Row& row) {
  *this = Choices{};
  search_ = every_execution();
  repeating_ = true;
  for (const unsigned chosen : row) choices_.push_back({chosen, 0, 0});
}

void Choices::begin_execution() {
  depth_ = 0;
  asleep_ = 0;
  redundant_ = false;
  switches_left_ = search_.switches;
  if (search_.kind != Search::Kind::sampled) return;
  choices_.clear();
  random_state_ = executions_ + 1;
  random_state_ = random() ^ seed_;  // far from where its neighbours begin
  // Some executions switch at every step and some run long stretches; some die early and most late. Powers of
  // two: a division at each step would be felt.
  restlessness_ = 1U << (random() % 5);
  rarity_ = 8U << (random() % 5);
}

bool Choices::next_execution() {
  if (redundant_)
    ++redundant_executions_;
  else
    ++executions_;
  if (repeating_) return false;
  if (((executions_ + redundant_executions_) & 0xffff) == 0) {
    std::printf("progress %llu\n", static_cast<unsigned long long>(executions_));
    std::fflush(stdout);
    if (time_limit_ > 0 && seconds() > time_limit_) return false;
  }
  if (search_.kind == Search::Kind::sampled) {
    exhausted_ = executions_ == search_.executions;
    return !exhausted_;
  }
  choices_.resize(depth_);
  while (!choices_.empty()) {
    Choice& last = choices_.back();
    do ++last.chosen;
    while (last.chosen < last.count && (last.left_out & (1U << last.chosen)) != 0);
    if (last.chosen < last.count) break;
    choices_.pop_back();
  }
  exhausted_ = choices_.empty();
  return !exhausted_;
}

// SplitMix64. Relacy's own generator feeds choices between two from the low bits of a linear congruence, and
// so repeats itself after at most 2^18 executions.
std::uint64_t Choices::random() {
  std::uint64_t z = (random_state_ += 0x9e3779b97f4a7c15U);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
  return z ^ (z >> 31);
}

unsigned Choices::take(unsigned count, unsigned fresh, unsigned left_out) {
  if (depth_ == choices_.size()) {
    choices_.push_back({fresh, count, left_out});
  } else {
    Choice& known = choices_[depth_];
    if (repeating_) {
      known = {known.chosen < count ? known.chosen : 0, count, 0};
    } else if (known.count != count || known.left_out != left_out) {
      std::fprintf(
          stderr,
          "verify: found %u alternatives at choice %zu, expected %u as before; the scenario depends on "
          "something else than its choices\n",
          count, depth_, known.count);
      std::abort();
    }
  }
  return choices_[depth_++].chosen;
}

unsigned Choices::choose(unsigned count) {
  if (count == 1 || redundant_) return 0;
  const bool by_chance = search_.kind == Search::Kind::sampled;
  return take(count, by_chance ? static_cast<unsigned>(random() % count) : 0);
}

bool Choices::rarely() {
  if (redundant_) return false;
  const bool by_chance = search_.kind == Search::Kind::sampled;
  return take(2, by_chance && (random() & (rarity_ - 1)) == 0 ? 1 : 0) == 1;
}

unsigned Choices::choose_step(const Step* steps, unsigned count, bool running_can_go_on) {
  if (search_.kind == Search::Kind::every_execution && !repeating_)
    return choose_independent_step(steps, count);
  if (count == 1) return 0;
  if (running_can_go_on && switches_left_ == 0) return take(1, 0);
  const bool moves =
      search_.kind == Search::Kind::sampled && (!running_can_go_on || (random() & (restlessness_ - 1)) == 0);
  const unsigned chosen = take(count, moves ? static_cast<unsigned>(random() % count) : 0);
  if (running_can_go_on && chosen != 0) --switches_left_;
  return chosen;
}

unsigned Choices::choose_independent_step(const Step* steps, unsigned count) {
  if (redundant_) return 0;
  const auto bit = [](const Step& step) { return 1U << (3 * step.thread + step.reason); };
  unsigned left_out = 0;
  unsigned fresh = count;
  for (unsigned i = 0; i < count; ++i) {
    if ((asleep_ & bit(steps[i])) != 0)
      left_out |= 1U << i;
    else if (fresh == count)
      fresh = i;
  }
  redundant_ = fresh == count;  // then all threads end at their next step
  if (redundant_) return 0;
  const unsigned chosen = count == 1 ? 0 : take(count, fresh, left_out);
  asleep_ = 0;
  for (unsigned i = 0; i < count; ++i) {
    const bool done = i < chosen || (left_out & (1U << i)) != 0;
    if (done && i != chosen && steps[i].thread != steps[chosen].thread &&
        steps[i].access.is_independent_of(steps[chosen].access))
      asleep_ |= bit(steps[i]);
  }
  return chosen;
}

Choices::Row Choices::row() const {
  Row row;
  for (const Choice& choice : choices_) row.push_back(choice.chosen);
  row.resize(depth_);
  while (!row.empty() && row.back() == 0) row.pop_back();
  return row;
}

}  // namespace heirlock::verify
