#!/usr/bin/env python3
"""deny.py WHAT -- COMMAND...: runs it under a seccomp filter that refuses something.

io_uring  with EPERM, as the default profiles of container engines do
ipv6      sockets of IPv6, with EAFNOSUPPORT, as a kernel without it does
"""
import ctypes
import os
import socket
import struct
import sys

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
LOAD_WORD, JUMP_EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, REFUSE_EPERM, REFUSE_EAFNOSUPPORT = 0x7FFF0000, 0x00050001, 0x00050061
CALL, FIRST_ARGUMENT = 0, 16  # offsets in struct seccomp_data
IO_URING_CALLS = (425, 426, 427)  # setup, enter, register: the same on all 64-bit machines
SOCKET_CALL = {"x86_64": 41, "aarch64": 198}[os.uname().machine]


def io_uring():
    program = [(LOAD_WORD, 0, 0, CALL)]
    for index, number in enumerate(IO_URING_CALLS):
        program.append((JUMP_EQUAL, len(IO_URING_CALLS) - index, 0, number))
    return program + [(RETURN, 0, 0, ALLOW), (RETURN, 0, 0, REFUSE_EPERM)]


def ipv6():
    return [(LOAD_WORD, 0, 0, CALL), (JUMP_EQUAL, 0, 2, SOCKET_CALL),
            (LOAD_WORD, 0, 0, FIRST_ARGUMENT), (JUMP_EQUAL, 1, 0, socket.AF_INET6),
            (RETURN, 0, 0, ALLOW), (RETURN, 0, 0, REFUSE_EAFNOSUPPORT)]


def main():
    what, dashes, command = sys.argv[1], sys.argv[2], sys.argv[3:]
    program = {"io_uring": io_uring, "ipv6": ipv6}[what]()
    if dashes != "--" or not command:
        sys.exit(__doc__)
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *i) for i in program))
    filter_ = struct.pack("HxxxxxxP", len(program), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(
            PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.create_string_buffer(filter_), 0, 0):
        sys.exit(f"seccomp: {os.strerror(ctypes.get_errno())}")
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
