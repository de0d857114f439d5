// A client's numbers in the text format of Prometheus, as a service would answer them at /metrics,
// with the time that was spent waiting, which the events tell.
// Source of the format: prometheus.io/docs/instrumenting/exposition_formats.

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <string_view>

#include <redlatch/redlatch.hpp>

namespace {

void write(std::ostream& out, std::string_view type, std::string_view name, auto value) {
  out << "# TYPE redlatch_" << name << ' ' << type << "\nredlatch_" << name << ' ' << value << '\n';
}

void write(std::ostream& out, const redlatch::Metrics& metrics) {
  write(out, "counter", "acquired_total", metrics.acquired);
  write(out, "counter", "contended_total", metrics.contended);
  write(out, "counter", "missed_total", metrics.missed);  // single attempts; the others waited
  write(out, "counter", "renewed_total", metrics.renewed);
  write(out, "counter", "renewal_failed_total", metrics.renewal_failed);
  write(out, "counter", "lost_total", metrics.lost);  // the one to be woken for
  write(out, "counter", "released_total", metrics.released);
  write(out, "counter", "release_unknown_total", metrics.release_unknown);
  write(out, "counter", "connected_total", metrics.connected);
  write(out, "counter", "disconnected_total", metrics.disconnected);
  write(out, "counter", "connect_failed_total", metrics.connect_failed);
  write(out, "counter", "attempt_failed_total", metrics.attempt_failed);
  write(out, "counter", "events_dropped_total", metrics.events_dropped);
  write(out, "gauge", "held", metrics.held);
  write(out, "gauge", "waiting", metrics.waiting);
}

}  // namespace

int main() {
  const char* url = std::getenv("REDIS_URL");
  std::atomic<std::int64_t> waited_us = 0;  // outlives the client
  {
    redlatch::ClientOptions options;
    options.on_event = [&](const redlatch::Event& event) {
      if (event.kind == redlatch::EventKind::acquired) waited_us += event.elapsed.count();
    };
    redlatch::Client client(url != nullptr ? url : "redis://127.0.0.1:6379", options);
    for (int i = 0; i < 3; ++i) {
      const redlatch::Lock lock(client, "job");
    }
    const redlatch::Lock held(client, "job");
    write(std::cout, client.metrics());
  }  // what is still to be told is told before the client is gone
  write(std::cout, "counter", "acquiring_seconds_total", static_cast<double>(waited_us) / 1e6);
  return 0;
}
