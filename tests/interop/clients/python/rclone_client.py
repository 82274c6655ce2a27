"""rclone, by its remote control, so that one process takes all steps. Started with its path."""

from __future__ import annotations

import calendar
import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request

from driver import Library, main

RCLONE = sys.argv[1]


class Refused(Exception):
    """What rclone tells of an error."""


class Rclone(Library):
    name = "rclone"

    def __init__(self):
        self._process = None

    def login(self, login):
        if self._process is None:
            self._start()
        password = subprocess.run(
            [RCLONE, "obscure", login.password], capture_output=True, text=True, check=True
        ).stdout.strip()
        secret = f'key_file="{login.key_file}"' if login.key_file else f'pass="{password}"'
        self._remote = (
            f':sftp,host="{login.host}",port={login.port},user="{login.user}",{secret},'
            "disable_hashcheck=true,shell_type=none:"
        )
        self._call("operations/list", fs=self._remote, remote="")

    def _start(self):
        self._process = subprocess.Popen(
            [
                *(RCLONE, "--config", "/dev/null", "rcd", "--rc-no-auth", "--retries", "1"),
                *("--low-level-retries", "1", "--rc-addr", "127.0.0.1:0"),
            ],
            stderr=subprocess.PIPE,
            text=True,
        )
        for line in self._process.stderr:
            found = re.search(r"http://[0-9.:]+/", line)
            if found:
                self._address = found[0]
                return
        raise Refused("rclone has no remote control")

    def close(self):
        """Connections are rclone's own matter; each login has another remote."""

    def end(self):
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process.stderr.close()

    def _call(self, command, **arguments):
        request = urllib.request.Request(
            self._address + command,
            json.dumps(arguments).encode(),
            {"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise Refused(json.load(error)["error"]) from None

    def put(self, local, path):
        folder, name = os.path.split(local)
        self._call(
            "operations/copyfile", srcFs=folder, srcRemote=name, dstFs=self._remote, dstRemote=path
        )

    def get(self, path, local):
        folder, name = os.path.split(local)
        self._call(
            "operations/copyfile", srcFs=self._remote, srcRemote=path, dstFs=folder, dstRemote=name
        )

    def list(self, path):
        found = self._call("operations/list", fs=self._remote, remote=path)["list"]
        return [each["Name"] for each in found]

    def stat(self, path):
        folder, _, wanted = path.rpartition("/")
        for each in self._call("operations/list", fs=self._remote, remote=folder)["list"]:
            if each["Name"] == wanted:
                when = time.strptime(each["ModTime"][:19], "%Y-%m-%dT%H:%M:%S")
                return {"size": each["Size"], "mtime": calendar.timegm(when)}
        raise Refused("no such file")

    def mkdir(self, path):
        self._call("operations/mkdir", fs=self._remote, remote=path)

    def rename(self, old, new):
        self._call(
            "operations/movefile",
            srcFs=self._remote,
            srcRemote=old,
            dstFs=self._remote,
            dstRemote=new,
        )

    def replace(self, old, new):
        self.rename(old, new)
        return "its own way"

    def remove(self, path):
        self._call("operations/deletefile", fs=self._remote, remote=path)

    def rmdir(self, path):
        self._call("operations/rmdir", fs=self._remote, remote=path)

    def put_many(self, _login, pairs):
        running = []
        for local, path in pairs:
            folder, name = os.path.split(local)
            asked = {"srcFs": folder, "srcRemote": name, "dstFs": self._remote, "dstRemote": path}
            running.append(self._call("operations/copyfile", **asked, _async=True)["jobid"])
        for job in running:
            while not (found := self._call("job/status", jobid=job))["finished"]:
                time.sleep(0.05)
            if not found["success"]:
                raise Refused(found["error"])


said = subprocess.run([RCLONE, "version"], capture_output=True, text=True, check=False)
Rclone.version = re.search(r"rclone v(\d+\.\d+\.\d+)", said.stdout)[1]
library = Rclone()
try:
    main(library)
finally:
    library.end()
