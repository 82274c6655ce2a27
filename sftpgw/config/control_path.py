"""Where a gateway's control socket is, as its sftpgw.ini says; the rest of the file may be broken.

Must not know: what the socket is for.
"""

from __future__ import annotations

from pathlib import Path

from sftpgw.config.ini_file import Faults, read_sections


def control_path(config: Path) -> str:
    """The path of the control socket.

    :param config: the path of sftpgw.ini.
    :raises ValueError: there is none; says why.
    """
    config, faults = config.absolute(), Faults()
    sections = read_sections(config, faults)
    if sections is None:
        raise ValueError("; ".join(faults.lines))
    given = sections["gateway"].given if "gateway" in sections else {}
    if not given.get("control"):
        raise ValueError(f"{config} names no control socket; set [gateway] control")
    return str(config.parent / given["control"])
