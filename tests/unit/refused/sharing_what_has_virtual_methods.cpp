// Spec: shared.shareable
#include "heirlock/shared.hpp"

struct WithVirtualMethod {
  virtual void method() {}
};
heirlock::Shared<WithVirtualMethod> object;
