"""libssh (C), by ctypes. Started with the name of the library, and the task."""

from __future__ import annotations

import ctypes
import ctypes.util
import os

from driver import Library, main

SUCCESS = 0
HOST, PORT, USER = 0, 1, 4  # of enum ssh_options_e
STEP_BYTES = 32_000
WRITE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC


class Attributes(ctypes.Structure):
    """The beginning of sftp_attributes_struct."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("longname", ctypes.c_char_p),
        ("flags", ctypes.c_uint32),
        ("type", ctypes.c_uint8),
        ("size", ctypes.c_uint64),
        ("uid", ctypes.c_uint32),
        ("gid", ctypes.c_uint32),
        ("owner", ctypes.c_char_p),
        ("group", ctypes.c_char_p),
        ("permissions", ctypes.c_uint32),
        ("atime64", ctypes.c_uint64),
        ("atime", ctypes.c_uint32),
        ("atime_nseconds", ctypes.c_uint32),
        ("createtime", ctypes.c_uint64),
        ("createtime_nseconds", ctypes.c_uint32),
        ("mtime64", ctypes.c_uint64),
        ("mtime", ctypes.c_uint32),
    )


class TimeValue(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("microseconds", ctypes.c_long))


class Refused(Exception):
    """What libssh tells of an error."""


def opened():
    library = ctypes.CDLL(ctypes.util.find_library("ssh"))
    pointers = "ssh_new sftp_new sftp_open sftp_opendir sftp_readdir sftp_stat"
    for name in pointers.split():
        getattr(library, name).restype = ctypes.c_void_p
    for name in ("ssh_get_error", "ssh_version"):
        getattr(library, name).restype = ctypes.c_char_p
    for name in ("sftp_read", "sftp_write"):
        getattr(library, name).restype = ctypes.c_ssize_t
    return library


SSH = opened()


class LibSsh(Library):
    name = "libssh"
    version = SSH.ssh_version(0).decode().partition("/")[0]

    def __init__(self):
        self._session = None

    def login(self, login):
        self._session = ctypes.c_void_p(SSH.ssh_new())
        SSH.ssh_options_set(self._session, HOST, login.host.encode())
        SSH.ssh_options_set(self._session, PORT, ctypes.byref(ctypes.c_uint(login.port)))
        SSH.ssh_options_set(self._session, USER, login.user.encode())
        self._demand(SSH.ssh_connect(self._session))
        if login.key_file:
            key = ctypes.c_void_p()
            file = login.key_file.encode()
            self._demand(SSH.ssh_pki_import_privkey_file(file, None, None, None, ctypes.byref(key)))
            self._demand(SSH.ssh_userauth_publickey(self._session, None, key))
        else:
            self._demand(SSH.ssh_userauth_password(self._session, None, login.password.encode()))
        self._sftp = ctypes.c_void_p(SSH.sftp_new(self._session))
        self._demand(SSH.sftp_init(self._sftp))

    def close(self):
        if self._session is not None:
            SSH.ssh_disconnect(self._session)
            SSH.ssh_free(self._session)
        self._session = None

    def _demand(self, status):
        if status != SUCCESS:
            raise Refused(SSH.ssh_get_error(self._session).decode())

    def _found(self, pointer):
        if not pointer:
            raise Refused(SSH.ssh_get_error(self._session).decode())
        return ctypes.c_void_p(pointer)

    def _opened(self, path, flags):
        return self._found(SSH.sftp_open(self._sftp, path.encode(), flags, 0o644))

    def put(self, local, path):
        self._write(local, path, 0, WRITE)

    def resume_put(self, local, path):
        self._write(local, path, self.stat(path)["size"], os.O_WRONLY)

    def _write(self, local, path, offset, flags):
        file = self._opened(path, flags)
        SSH.sftp_seek64(file, ctypes.c_uint64(offset))
        with open(local, "rb") as source:
            source.seek(offset)
            while step := source.read(STEP_BYTES):
                if SSH.sftp_write(file, step, ctypes.c_size_t(len(step))) != len(step):
                    raise Refused(SSH.ssh_get_error(self._session).decode())
        self._demand(SSH.sftp_close(file))

    def get(self, path, local):
        open(local, "wb").close()
        self.resume_get(path, local)

    def resume_get(self, path, local):
        file = self._opened(path, os.O_RDONLY)
        SSH.sftp_seek64(file, ctypes.c_uint64(os.path.getsize(local)))
        step = ctypes.create_string_buffer(STEP_BYTES)
        with open(local, "ab") as target:
            while (count := SSH.sftp_read(file, step, ctypes.c_size_t(STEP_BYTES))) > 0:
                target.write(step.raw[:count])
        self._demand(count)
        self._demand(SSH.sftp_close(file))

    def list(self, path):
        folder = self._found(SSH.sftp_opendir(self._sftp, path.encode()))
        names = []
        while each := SSH.sftp_readdir(self._sftp, folder):
            names.append(Attributes.from_address(each).name.decode())
            SSH.sftp_attributes_free(ctypes.c_void_p(each))
        self._demand(SSH.sftp_closedir(folder))
        return names

    def stat(self, path):
        found = self._found(SSH.sftp_stat(self._sftp, path.encode()))
        attributes = Attributes.from_address(found.value)
        answer = {"size": attributes.size, "mtime": attributes.mtime}
        SSH.sftp_attributes_free(found)
        return answer

    def mkdir(self, path):
        self._demand(SSH.sftp_mkdir(self._sftp, path.encode(), 0o755))

    def rename(self, old, new):
        self._demand(SSH.sftp_rename(self._sftp, old.encode(), new.encode()))

    def chmod(self, path, mode):
        self._demand(SSH.sftp_chmod(self._sftp, path.encode(), mode))

    def utime(self, path, seconds):
        times = (TimeValue * 2)(TimeValue(seconds, 0), TimeValue(seconds, 0))
        self._demand(SSH.sftp_utimes(self._sftp, path.encode(), times))

    def remove(self, path):
        self._demand(SSH.sftp_unlink(self._sftp, path.encode()))

    def rmdir(self, path):
        self._demand(SSH.sftp_rmdir(self._sftp, path.encode()))


main(LibSsh())
