"""Logs in by libssh, and tells how that went. Run by `test_libssh` in a process of its own.

usage: libssh_client.py LIBRARY PORT USER key FILE | password WORD
"""

from __future__ import annotations

import ctypes
import sys

SUCCESS, INFO = 0, 3
HOST, PORT, USER = 0, 1, 4  # of enum ssh_options_e


def main(path: str, port: str, user: str, how: str, secret: str) -> None:
    library = ctypes.CDLL(path)
    for name in ("ssh_new",):
        getattr(library, name).restype = ctypes.c_void_p
    for name in ("ssh_get_error", "ssh_userauth_kbdint_getprompt", "ssh_version"):
        getattr(library, name).restype = ctypes.c_char_p
    session = ctypes.c_void_p(library.ssh_new())
    library.ssh_options_set(session, HOST, b"127.0.0.1")
    library.ssh_options_set(session, PORT, ctypes.byref(ctypes.c_uint(int(port))))
    library.ssh_options_set(session, USER, user.encode())
    if library.ssh_connect(session):
        sys.exit(f"no connection: {library.ssh_get_error(session)}")
    log_in = by_key if how == "key" else by_answers
    if log_in(library, session, secret.encode()) != SUCCESS:
        sys.exit(f"no login: {library.ssh_get_error(session)}")
    print("logged in by libssh", library.ssh_version(0).decode())  # noqa: T201
    library.ssh_disconnect(session)


def by_key(library: ctypes.CDLL, session: ctypes.c_void_p, file: bytes) -> int:
    key = ctypes.c_void_p()
    if library.ssh_pki_import_privkey_file(file, None, None, None, ctypes.byref(key)):
        sys.exit("no key")
    return int(library.ssh_userauth_publickey(session, None, key))


def by_answers(library: ctypes.CDLL, session: ctypes.c_void_p, password: bytes) -> int:
    """keyboard-interactive, with the password for every prompt."""
    status = library.ssh_userauth_kbdint(session, None, None)
    while status == INFO:
        for number in range(library.ssh_userauth_kbdint_getnprompts(session)):
            echo = ctypes.c_char()
            prompt = library.ssh_userauth_kbdint_getprompt(session, number, ctypes.byref(echo))
            if not prompt.endswith(b"assword: ") or echo.value != b"\0":
                sys.exit(f"an odd question: {prompt}")
            library.ssh_userauth_kbdint_setanswer(session, number, password)
        status = library.ssh_userauth_kbdint(session, None, None)
    return int(status)


if __name__ == "__main__":
    main(*sys.argv[1:])
