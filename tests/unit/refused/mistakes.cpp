// What the compiler must refuse, one MISTAKE a call; without one it must accept the rest.
// Spec: shared.shareable
#include <string>

#include "heirlock/shared.hpp"

struct alignas(4096) Wide {};
heirlock::Shared<Wide> wide;

struct VouchedFor {
  std::string text;
};
template <>
struct heirlock::is_shareable<VouchedFor> : std::true_type {};
heirlock::Shared<VouchedFor> vouched_for;

struct WithVirtualMethod {
  virtual void method() {}
};
struct alignas(8192) TooWide {};

#if MISTAKE == 1
heirlock::Shared<std::string> must_be_destroyed;
#elif MISTAKE == 2
auto opened = heirlock::Shared<std::string>::open("name");
#elif MISTAKE == 3
heirlock::Shared<WithVirtualMethod> with_virtual_method;
#elif MISTAKE == 4
heirlock::Shared<TooWide> too_wide;
#endif
