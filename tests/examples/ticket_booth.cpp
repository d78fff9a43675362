// Programs that know nothing of each other sell tickets from one roll, which they find by its name. Run
// `ticket_booth NAME` as often as you like, at once; `ticket_booth NAME remove` takes the roll away.
#include <heirlock/lockable.hpp>
#include <iostream>
#include <string>

class TicketRoll : public heirlock::Lockable {
 public:
  explicit TicketRoll(const std::string& name)
      : Lockable(name + ".lock"), last_sold_(heirlock::Shared<int>::open_or_create(name + ".sold", 0)) {}

  /// The number of the next ticket, or 0 when all are sold.
  int tear_off() {
    return locked([&] { return *last_sold_ < 1'000'000 ? ++*last_sold_ : 0; });
  }

  static void remove(const std::string& name) {
    heirlock::Shared<heirlock::ReentrantLock>::remove(name + ".lock");
    heirlock::Shared<int>::remove(name + ".sold");
  }

 private:
  // An int is never half-written. A ticket that a killed booth tore off is lost.
  void recover() override {}

  heirlock::Shared<int> last_sold_;
};

int main(int count, char** arguments) {
  if (count < 2) return 2;
  if (count > 2) return TicketRoll::remove(arguments[1]), 0;

  TicketRoll roll(arguments[1]);
  int sold = 0;
  int last = 0;
  while (const int ticket = roll.tear_off()) {
    if (ticket <= last) return 1;  // somebody tore it off before
    last = ticket;
    ++sold;
  }
  std::cout << "sold " << sold << '\n';
}
