"""Cycles with redis-py's Lock: redis_py_loop.py URL SECONDS_OF_WARM_UP SECONDS

Prints how many cycles there were, then those figures of the SECONDS that Sample in window.hpp has.
"""

import sys
import time

import redis


def cycle_for(seconds, client):
    durations = {"acquire": [], "release": [], "cycle": []}
    now = begin = time.perf_counter()
    while now < begin + seconds:
        lock = client.lock("bench:0", timeout=10)
        if not lock.acquire():
            raise RuntimeError("no lock")
        held = time.perf_counter()
        lock.release()  # raises when the lock was lost
        released = time.perf_counter()
        durations["acquire"].append(held - now)
        durations["release"].append(released - held)
        durations["cycle"].append(released - now)
        now = released
    return durations, now - begin


def main():
    client = redis.Redis.from_url(sys.argv[1])
    warm_up, _ = cycle_for(float(sys.argv[2]), client)
    cpu = time.process_time()
    durations, seconds = cycle_for(float(sys.argv[3]), client)
    cpu = time.process_time() - cpu
    cycles = len(durations["cycle"])
    print(len(warm_up["cycle"]) + cycles)
    print("cycles_per_second", cycles / seconds)
    print("cpu_us", cpu * 1e6 / cycles)
    for name, values in durations.items():
        values.sort()
        print(f"{name}_p50_us", values[int(0.5 * cycles)] * 1e6)
        print(f"{name}_p99_us", values[int(0.99 * cycles)] * 1e6)


main()
