#!/usr/bin/env python3
"""Becomes a server that is reached through a proxy: behind_proxy.py KIND PROXY SERVER ARGUMENT...

The arguments are those of RedisServer in tests/support. The proxy listens on the port that they
give, haproxy on that for plain TCP and stunnel on that for TLS, and leads to the Unix socket, the
only way to the server itself. It ends with the server.
"""

import os
import socket
import subprocess
import sys
import time

HAPROXY = """
defaults
  mode tcp
  timeout connect 5s
  timeout client 1h
  timeout server 1h
listen redis
  bind 127.0.0.1:{port}
  server redis unix@{socket}
"""

STUNNEL = """
foreground = yes
pid =
syslog = no
output = {directory}/stunnel.log
[redis]
accept = 127.0.0.1:{port}
connect = {socket}
cert = {certificate}
key = {key}
"""


def taken(arguments, name):
    """The value of an option, which is removed together with it."""
    if name not in arguments:
        return None
    at = arguments.index(name)
    value = arguments[at + 1]
    del arguments[at : at + 2]
    return value


def await_port(port, process):
    for _ in range(2000):
        if process.poll() is not None:
            sys.exit(f"the proxy has ended with {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", int(port)), 5).close()
            return
        except OSError:
            time.sleep(0.005)
    sys.exit("the proxy does not listen")


def main(kind, proxy, server, *arguments):
    arguments = list(arguments)
    options = {"socket": arguments[arguments.index("--unixsocket") + 1]}
    options["directory"] = os.path.dirname(options["socket"])
    options["port"] = taken(arguments, "--port")
    if kind == "stunnel":
        options["port"] = taken(arguments, "--tls-port") or sys.exit("needs REDLATCH_TEST_TLS")
        options["certificate"] = taken(arguments, "--tls-cert-file")
        options["key"] = taken(arguments, "--tls-key-file")
        for name in ("--tls-ca-cert-file", "--tls-auth-clients"):
            taken(arguments, name)
    configuration = f"{options['directory']}/{kind}.conf"
    with open(configuration, "w") as file:
        file.write((HAPROXY if kind == "haproxy" else STUNNEL).format(**options))
    words = ["-db", "-f", configuration] if kind == "haproxy" else [configuration]
    process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", proxy, *words])
    await_port(options["port"], process)
    os.execv(server, [server, "--port", "0", *arguments])


if __name__ == "__main__":
    main(*sys.argv[1:])
