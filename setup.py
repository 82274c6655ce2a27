"""Packaging. The settings of the tools are in pyproject.toml."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent


def version() -> str:
    """The version that the package states, read without importing it."""
    text = (HERE / "sftpgw" / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE)
    assert found, "sftpgw/__init__.py states no version"
    return found[1]


# moto's S3, and what its server is made of. Its extra "server" brings what all other services of
# AWS need, too: 30 packages and 175 MB more.
MOTO_S3 = ["moto[s3]>=5.1", "flask>=3", "flask-cors>=5"]

setup(
    name="sftpgw",
    version=version(),
    description="An SFTP and SCP server whose disk is Amazon S3, or any store that speaks S3",
    long_description=(HERE / "README.rst").read_text(encoding="utf-8"),
    long_description_content_type="text/x-rst",
    license="MIT",
    license_files=["LICENSE"],
    keywords=["sftp", "scp", "ssh", "s3", "object storage", "gateway", "twisted"],
    # No project_urls: they take no relative links, and the project has no address of its own yet.
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: No Input/Output (Daemon)",
        "Framework :: Twisted",
        "Intended Audience :: System Administrators",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3 :: Only",
        # Those that are tested: CONTRIBUTING.rst says how.
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Programming Language :: Python :: 3.14",
        "Topic :: Internet :: File Transfer Protocol (FTP)",
        "Typing :: Typed",
    ],
    python_requires=">=3.11",
    # twisted.plugins is not a package (it must have no __init__.py), so nothing finds it.
    packages=[*find_packages(include=["sftpgw", "sftpgw.*"]), "twisted.plugins"],
    # Makes `pip install -e` put this folder on the path, where twistd looks for plugins.
    package_dir={"": "."},
    package_data={"sftpgw": ["py.typed"]},
    # Below the folder of the environment: .venv/share/sftpgw.
    data_files=[("share/sftpgw", ["etc/sftpgw.ini", "etc/users.ini"])],
    # Beside twistd's own `twistd sftpgw`; the same code.
    entry_points={"console_scripts": ["sftpgw = sftpgw.cli:main"]},
    zip_safe=False,
    install_requires=[
        "twisted[conch,tls]>=26.10",
        "botocore>=1.40",
        "awscrt>=0.32",
        "cryptography>=48",
        "service-identity>=24.1",
        "idna>=3",
        "bcrypt>=4",
        "argon2-cffi>=23.1",
        "pyotp>=2.9",
        "segno>=1.6",
        "treq>=24.9",
    ],
    extras_require={
        "demo": MOTO_S3,
        # svgbob draws the figures: without a program of the system, and without a browser's help.
        "docs": ["furo", "sphinx>=8.2", "sphinxcontrib-svgbob>=0.3.2"],
        "fuzz": ["atheris>=3"],
        "test": [
            "asyncssh",
            "build",
            "hypothesis",
            *MOTO_S3,
            "mypy",
            "mypy-zope",
            "paramiko",
            "pytest",
            "pytest-twisted",
            "pytest-xdist",
            "ruff",
            "ssh-audit",
            "ssh2-python",
            "towncrier>=24.7",
        ],
    },
)
