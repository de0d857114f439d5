"""A lock of redis-py, to be told what to do by lines on standard input: redis_py_lock.py SOCKET KEY.

acquire TTL: True or False    wait TTL: the same, but waits    release: released, or the error's name
owned: True or False    extend TTL: True, or the error's name    token: the token    ready: True
"""

import sys

import redis
from redis.exceptions import LockError


def answer(client, key, lock, command, ttl):
    if command in ("acquire", "wait"):
        lock = client.lock(key, timeout=float(ttl), sleep=0.01, blocking_timeout=60)
        return lock, lock.acquire(blocking=command == "wait")
    if command == "release":
        lock.release()
        return lock, "released"
    if command == "owned":
        return lock, lock.owned()
    if command == "extend":
        return lock, lock.extend(float(ttl), replace_ttl=True)
    if command == "token":
        return lock, lock.local.token.decode()
    if command == "ready":
        return lock, client.ping()
    raise ValueError(command)


def main():
    client = redis.Redis(unix_socket_path=sys.argv[1])
    key = sys.argv[2]
    lock = None
    for line in sys.stdin:
        command, _, ttl = line.strip().partition(" ")
        try:
            lock, said = answer(client, key, lock, command, ttl)
        except LockError as error:
            said = type(error).__name__
        print(said, flush=True)


main()
