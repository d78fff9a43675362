// Library "twice" of the consumer: calls library "counter" while it holds the counter's lock.
#ifndef CONSUMER_TWICE_HPP
#define CONSUMER_TWICE_HPP

#include "counter.hpp"

void add_twice(Counter& counter, int amount);

#endif
