// Library "counter" of the consumer: an object with a lock.
#ifndef CONSUMER_COUNTER_HPP
#define CONSUMER_COUNTER_HPP

#include <heirlock/lockable.hpp>
#include <heirlock/shared.hpp>

class Counter : public heirlock::Lockable {
 public:
  int add(int amount);

 private:
  heirlock::Shared<int> value_{0};
};

#endif
