#include "resource_sweep.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <iostream>
#include <iterator>
#include <new>
#include <string_view>

#include <redlatch/redlatch.hpp>

#include "eventually.hpp"

namespace redlatch::test {
namespace {

using namespace std::chrono_literals;

std::ptrdiff_t entries(const char* directory) {
  return std::distance(std::filesystem::directory_iterator(directory),
                       std::filesystem::directory_iterator());
}

struct Held {
  std::ptrdiff_t descriptors = entries("/proc/self/fd");
  std::ptrdiff_t threads = entries("/proc/self/task");

  bool operator==(const Held&) const = default;
};

/// What the program gets to see.
struct Outcome {
  std::string error{};  // empty: none
  bool is_allowed = true;
  std::chrono::nanoseconds took{};
};

/// Within which each call ends, which has two time-outs of 2 s.
constexpr auto bound = 10s;

bool is_memory(const Fault& fault) {
  return fault.function == Function::allocate || fault.error == ENOMEM;
}

/// Whether an error of that code, with that text, is what such a fault may come to. A time-out is
/// one of a busy machine, too.
bool explains(const Error& error, const Fault& fault) {
  if (!error.transient()) return false;
  if (is_memory(fault) || fault.error == 0 || error.code() == Errc::timed_out) return true;
  return std::string_view(error.what()).find(::strerror(fault.error)) != std::string_view::npos;
}

Outcome meet(Journey& journey, const Fault& fault, int k) {
  Outcome outcome;
  const auto begun = std::chrono::steady_clock::now();
  {
    const LibraryCalls library;
    const ArmedFault armed(fault, k);
    try {
      journey.act();
    } catch (const std::exception& error) {
      ArmedFault::disarm();
      outcome.error = error.what();
      const auto* const ours = dynamic_cast<const Error*>(&error);
      const bool is_out_of_memory = dynamic_cast<const std::bad_alloc*>(&error) != nullptr;
      outcome.is_allowed =
          ours != nullptr ? explains(*ours, fault) : is_out_of_memory && is_memory(fault);
    }
  }
  outcome.took = std::chrono::steady_clock::now() - begun;
  return outcome;
}

/// In a moment: what has failed is not tried again at once.
bool works_again(Journey& journey) {
  const LibraryCalls library;
  std::string why = "it does not work again";
  const bool works = eventually([&] {
    try {
      return journey.works_again();
    } catch (const std::exception& error) {
      why = error.what();
      return false;
    }
  });
  EXPECT_TRUE(works) << why;
  return works;
}

/// One fault. False when it has not landed, or its journey is spoilt.
bool survives(const JourneyKind& kind, const Fault& fault, Expected expected, int k) {
  SCOPED_TRACE(kind.name + ": " + fault.text() + ", call " + std::to_string(k));
  const Held before;
  std::unique_ptr<Journey> journey;
  {
    const LibraryCalls library;
    journey = kind.make();
  }
  const Outcome outcome = meet(*journey, fault, k);
  const bool landed = ArmedFault::landed() > 0;
  if (std::getenv("REDLATCH_RESOURCES_SHOW") != nullptr && landed) {
    std::cout << kind.name << " | " << fault.text() << " | " << k << " | " << outcome.error << '\n';
  }
  EXPECT_TRUE(outcome.is_allowed) << outcome.error;
  EXPECT_TRUE(expected == Expected::error_or_success || outcome.error.empty()) << outcome.error;
  EXPECT_LT(outcome.took, bound) << outcome.error;
  const bool is_free = eventually([&] { return journey->leaves_nothing(); });
  EXPECT_TRUE(is_free) << outcome.error;
  const bool works = works_again(*journey);
  journey.reset();
  EXPECT_TRUE(eventually([&] { return Held() == before; })) << outcome.error;
  return landed && is_free && works;
}

}  // namespace

int sweep(const JourneyKind& kind, const std::vector<Fault>& faults, Expected expected,
          int max_step) {
  const int largest = std::getenv("REDLATCH_EVERY_CALL") != nullptr ? 1 : max_step;
  int landed = 0;
  for (const Fault& fault : faults) {
    for (int k = 1; survives(kind, fault, expected, k); k += std::min(largest, 1 + k / 8)) {
      ++landed;
    }
  }
  return landed;
}

}  // namespace redlatch::test
