// Relacy, without the macros that it lays over whatever follows.
#ifndef HEIRLOCK_VERIFY_MODEL_RELACY_HPP
#define HEIRLOCK_VERIFY_MODEL_RELACY_HPP

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <iterator>
#include <ostream>
#include <sstream>
#include <string>
#include <vector>

#define RL_DO_ASSERT 1  // Relacy's checks of itself: they find a scenario whose executions cannot be repeated
#include <relacy/relacy.hpp>

#undef new
#undef delete
#undef malloc
#undef calloc
#undef realloc
#undef free
#undef assert
#undef errno
#undef VAR
#undef VAR_T
#undef TLS_T
#undef memory_order_relaxed
#undef memory_order_consume
#undef memory_order_acquire
#undef memory_order_release
#undef memory_order_acq_rel
#undef memory_order_seq_cst
#undef $

#endif
