#include "workers.hpp"

#include <utility>

namespace redlatch::test {

Workers::Workers(std::size_t places, Work work) : work_(std::move(work)), places_(places) {
  for (std::size_t i = 0; i < places; ++i) start(i);
}

void Workers::start(std::size_t place) {
  const std::uint16_t number = started_++;
  places_[place] = {number, std::make_unique<Child>([&] { work_(place, number); })};
}

Trouble Workers::stop(std::size_t place) {
  const Moment began = HistoryClock::now();
  const std::uint16_t number = places_[place].number;
  places_[place].child->stop();
  return {.incident = {.fault = Fault::worker_stopped, .began = began, .lossy_until = began},
          .end = [this, place, number] {
            const Place& one = places_[place];
            const bool landed =
                one.number == number && !one.child->runs() && !one.child->has_ended();
            one.child->go_on();
            return landed;
          }};
}

Trouble Workers::kill(std::size_t place) {
  const Moment began = HistoryClock::now();
  Place& one = places_[place];
  const bool was_there = !one.child->has_ended();
  if (!was_there) crashes_.push_back("worker " + std::to_string(one.number) + " ended by itself");
  one.child->kill();
  return {.incident = {.fault = Fault::worker_killed,
                       .began = began,
                       .lossy_until = HistoryClock::now(),
                       .killed = one.number},
          .end = [this, place, was_there] {
            start(place);
            return was_there;
          }};
}

std::vector<std::string> Workers::end() {
  for (const Place& one : places_) {
    const int status = one.child->wait();
    if (status == 0) continue;
    crashes_.push_back("worker " + std::to_string(one.number) + " ended with status " +
                       std::to_string(status));
  }
  return crashes_;
}

}  // namespace redlatch::test
