#!/usr/bin/env python3
"""socket_keeper.py UNIX_PATH TCP,... UDP,... -- COMMAND...: what systemd does for a
socket unit and its service. It opens the sockets (ports on all addresses, and the
Unix one), passes them to the command (sd_listen_fds(3)) and starts it again, with
the same sockets, whenever it ends. SIGTERM ends both."""
import os
import signal
import socket
import sys

FIRST = 3


def open_socket(kind, port):
    opened = socket.socket(socket.AF_INET6, kind)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    opened.bind(("::", port))
    if kind == socket.SOCK_STREAM:
        opened.listen(4096)
    return opened


def open_unix(path):
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    opened.bind(path)
    os.chmod(path, 0o600)
    opened.listen(128)
    return opened


def start(command, sockets):
    child = os.fork()
    if child:
        return child
    # First out of the way of the numbers they are to get.
    copies = [os.dup2(s.fileno(), 100 + i) for i, s in enumerate(sockets)]
    for i, copy in enumerate(copies):
        os.dup2(copy, FIRST + i)
        os.close(copy)
    os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(sockets)),
                      LISTEN_FDNAMES=":".join(["ringscale.socket"] * len(sockets)))
    os.execvp(command[0], command)


def main():
    path, tcp, udp, dashes, *command = sys.argv[1:]
    assert dashes == "--"
    sockets = [open_socket(socket.SOCK_STREAM, int(port)) for port in tcp.split(",")]
    sockets += [open_socket(socket.SOCK_DGRAM, int(port)) for port in udp.split(",")]
    sockets.append(open_unix(path))
    child = None

    def end(*_):
        os.kill(child, signal.SIGTERM)
        os.waitpid(child, 0)
        os.unlink(path)
        os._exit(0)
    while True:
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        child = start(command, sockets)
        signal.signal(signal.SIGTERM, end)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
        _, status = os.waitpid(child, 0)
        print(f"the command ended with wait status {status}: starting it again", flush=True)


if __name__ == "__main__":
    main()
