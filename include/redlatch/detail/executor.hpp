#pragma once

#include <redlatch/detail/event_record.hpp>
#include <redlatch/detail/lease_keeper.hpp>
#include <redlatch/detail/local_queues.hpp>
#include <redlatch/detail/request_transport.hpp>
#include <redlatch/event.hpp>

namespace redlatch::detail {

/// Counts what happens to locks and connections, and has the program told. Any thread may call any
/// member.
class EventRecorder {
 public:
  EventRecorder(const EventRecorder&) = delete;
  EventRecorder& operator=(const EventRecorder&) = delete;

  /// Counts an event, and queues it for `ClientOptions::on_event`.
  virtual void record_event(const EventRecord& record) noexcept = 0;
  virtual Metrics metrics() const = 0;

 protected:
  EventRecorder() = default;
  ~EventRecorder() = default;
};

/// What a lock sees of the world. In the product it is a client or a quorum, in unit tests a fake
/// without sockets.
class Executor : public RequestTransport,
                 public LeaseKeeper,
                 public LocalQueues,
                 public EventRecorder {
 public:
  Executor() = default;
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;
  virtual ~Executor() = default;
};

}  // namespace redlatch::detail
