#include "stress/faults.hpp"

#include "stress/options.hpp"

namespace stress {

std::string as_list(const Faults& faults) {
  std::string list;
  for (std::size_t kind = 0; kind < fault_kinds; ++kind)
    if (faults[kind]) list += (list.empty() ? "" : ",") + std::string(fault_names[kind]);
  return list;
}

FaultStream::FaultStream(const Options& options, Faults faults, double rate, std::uint64_t seed)
    : processes_(options.processes),
      threads_(options.threads),
      end_(options.seconds * static_cast<double>(second)),
      rate_(rate),
      random_(seed) {
  for (std::size_t kind = 0; kind < fault_kinds; ++kind)
    if (faults[kind]) faults_.push_back(static_cast<Fault>(kind));
  draw();
}

void FaultStream::draw() {
  using Whole = std::uniform_int_distribution<std::uint32_t>;
  using Duration = std::uniform_int_distribution<Nanoseconds>;
  next_.reset();
  if (faults_.empty() || rate_ <= 0) return;
  const double part = std::uniform_real_distribution<>(0, 1)(random_);
  const double after = (static_cast<double>(drawn_++) + part) / rate_ * static_cast<double>(second);
  if (after >= end_) return;
  PlannedFault drawn;
  drawn.after = static_cast<Nanoseconds>(after);
  drawn.fault = faults_[std::uniform_int_distribution<std::size_t>(0, faults_.size() - 1)(random_)];
  drawn.worker = Whole(0, processes_ - 1)(random_);
  const bool is_never_first = drawn.fault == Fault::exec_thread;
  const bool is_always_first = drawn.fault == Fault::exec;
  drawn.thread = Whole(is_never_first ? 1 : 0, is_always_first ? 0 : threads_ - 1)(random_);
  drawn.duration = Duration(millisecond, 100 * millisecond)(random_);
  drawn.is_roll_call_first = std::bernoulli_distribution()(random_);
  drawn.pause = Duration(0, millisecond)(random_);
  next_ = drawn;
}

FaultPlan::FaultPlan(const Options& options)
    : kills_(options, options.faults & only(Fault::kill), options.kills_per_second, options.seed),
      others_(options, options.faults & ~only(Fault::kill), options.faults_per_second, options.seed + 2) {}

bool FaultPlan::is_kill_next() const {
  if (!kills_.next()) return false;
  return !others_.next() || kills_.next()->after <= others_.next()->after;
}

const std::optional<PlannedFault>& FaultPlan::next() const {
  return is_kill_next() ? kills_.next() : others_.next();
}

void FaultPlan::advance() {
  is_kill_next() ? kills_.draw() : others_.draw();
}

}  // namespace stress
