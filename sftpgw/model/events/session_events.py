"""Events of connections, logins and requests of clients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypedDict

from sftpgw.model.events import Event, EventLevel

# Connections.


@dataclass(frozen=True, kw_only=True)
class ConnectionsRefused(Event):
    """Connections were not accepted. They are counted for a while, and told in one event.

    :param full: connections beyond ``max_connections``.
    :param address_busy: beyond ``startups_per_address`` of one address.
    :param address_fast: beyond ``startup_rate_per_address`` of one address.
    :param penalised: from an address with ``penalties``, since its clients did not log in.
    :param banned: from an address that is banned (:event:`banned`).
    :param early_drop: dropped at random, as ``max_startups`` says.
    :param no_balancer: to a balancer's port, from outside of ``balancer_networks``.
    :param no_header: from a balancer, without a PROXY header in time.
    :param bad_header: from a balancer, with a PROXY header that cannot be read.
    :param last_from: the address of the last one.
    :param connected: connections that are open now.
    :param logging_in: those of them that have not logged in.
    """

    event_name: ClassVar[str] = "connections-refused"
    level: ClassVar[EventLevel] = EventLevel.WARNING
    advice: ClassVar[str] = (
        "Look which count is high. ``full``: raise ``[ssh] max_connections``, and the limit of "
        "file descriptors with it. ``address_busy`` or ``address_fast`` of a known partner: add "
        "its network to ``[ssh] exempt_networks``, or raise the limit; of an unknown address: "
        "block it in the firewall. ``penalised``: passwords are guessed there, or a client is set "
        "up wrong; a partner that shares the address with others goes into ``exempt_networks``. "
        "``banned``: ``sftpgw bans`` tells why, and ``sftpgw unban`` ends it. "
        "``early_drop``: raise ``max_startups``. ``no_balancer``: add "
        "the balancer to ``balancer_networks``. ``no_header`` and ``bad_header``: switch the "
        "PROXY protocol on in the balancer."
    )

    full: int | None = None
    address_busy: int | None = None
    address_fast: int | None = None
    penalised: int | None = None
    banned: int | None = None
    early_drop: int | None = None
    no_balancer: int | None = None
    no_header: int | None = None
    bad_header: int | None = None
    last_from: str
    connected: int
    logging_in: int


@dataclass(frozen=True, kw_only=True)
class AcceptingPaused(Event):
    """The process could not accept a connection and has paused; clients wait meanwhile.

    Pauses are counted for a while, and told in one event.

    :param count: how often it has paused.
    :param reason: the error of accept(2): ``EMFILE`` where the process has no descriptor left.
    """

    event_name: ClassVar[str] = "accepting-paused"
    level: ClassVar[EventLevel] = EventLevel.WARNING
    advice: ClassVar[str] = (
        "``EMFILE``: raise the limit of file descriptors, or lower ``[ssh] max_connections`` or "
        "``[s3] max_requests``; ``sftpgw check`` tells what they need. ``ENFILE``, ``ENOBUFS`` and "
        "``ENOMEM``: the whole machine has too few files or too little memory."
    )

    count: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class ConnectionsSilent(Event):
    """Clients have connected and gone without a byte, as health checks and port scans do.

    :param count: how many since the last such event.
    :param last_from: the address of the last one.
    """

    event_name: ClassVar[str] = "connections-silent"

    count: int
    last_from: str


@dataclass(frozen=True, kw_only=True)
class SessionOpened(Event):
    """A client has connected and sent its first byte.

    :param via: the load balancer that has handed the connection over.
    """

    event_name: ClassVar[str] = "session-opened"

    via: str | None = None


@dataclass(frozen=True, kw_only=True)
class ClientVersion(Event):
    """The client has sent its identification string (RFC 4253, section 4.2).

    :param version: the string, as it came.
    """

    event_name: ClassVar[str] = "client-version"

    version: str


@dataclass(frozen=True, kw_only=True)
class AlgorithmsDiffer(Event):
    """The client and the gateway have no algorithm of one kind in common; the session ends.

    :param setting: the key of ``[ssh]`` that lists this kind.
    :param client_offers: the client's algorithms.
    :param could_list: those of them that the setting may list.
    :param we_offer: the gateway's algorithms.
    :param lets_in: the setting that would let the client in.
    :param client: the client's version, as it came.
    """

    event_name: ClassVar[str] = "algorithms-differ"
    advice: ClassVar[str] = (
        "Update the client. If it cannot be updated, ``lets_in`` is the setting to change; "
        ":ref:`old-clients` tells what that means."
    )

    setting: str
    client_offers: str
    could_list: str
    we_offer: str
    lets_in: str
    client: str


@dataclass(frozen=True, kw_only=True)
class ClientsUnfit(Event):
    """How many clients could not connect or log in with the algorithms that they have.

    They are counted for ten minutes, and told in one event, whatever else the log had to leave out.

    :param key_exchanges: those that lack a key exchange.
    :param host_key_algorithms: those that lack the algorithm of a host key.
    :param ciphers: those that lack a cipher.
    :param macs: those that lack a MAC.
    :param compressions: those that insist on compression.
    :param login_keys: logins with a key or a signature that is not accepted.
    :param clients: the versions of the clients, each with its count.
    """

    event_name: ClassVar[str] = "clients-unfit"
    level: ClassVar[EventLevel] = EventLevel.WARNING
    advice: ClassVar[str] = (
        "Look for the lines :event:`algorithms-differ` and :event:`login-key-unfit` of these "
        "clients: ``lets_in`` is the setting that would let them in. Scanners are among them, too."
    )

    key_exchanges: int | None = None
    host_key_algorithms: int | None = None
    ciphers: int | None = None
    macs: int | None = None
    compressions: int | None = None
    login_keys: int | None = None
    clients: str


@dataclass(frozen=True, kw_only=True)
class ProtocolBroken(Event):
    """The client has sent something that SSH does not allow there; the session ends.

    :param reason: what was wrong.
    """

    event_name: ClassVar[str] = "protocol-broken"
    level: ClassVar[EventLevel] = EventLevel.WARNING
    advice: ClassVar[str] = (
        "Look at the session's ``client-version`` and ``peer``. A scanner: nothing is to be done. "
        "A partner's client: a device on the way changes the stream, or the client has a defect; "
        "update it."
    )

    reason: str


class SessionTotals(TypedDict, total=False):
    """What a session has moved, for `SessionClosed`."""

    received_bytes: int
    sent_bytes: int
    copied_bytes: int
    hashed_bytes: int


@dataclass(frozen=True, kw_only=True)
class SessionClosed(Event):
    """A connection has ended. The bytes are the sums over its files, once a user has logged in.

    :param reason: how it ended.
    :param seconds: how long it lasted.
    :param received_bytes: what the client sent of files.
    :param sent_bytes: what the client was sent of files.
    :param copied_bytes: copied from file to file, without the client.
    :param hashed_bytes: read for checksums, without the client.
    """

    event_name: ClassVar[str] = "session-closed"

    reason: str
    seconds: float
    received_bytes: int | None = None
    sent_bytes: int | None = None
    copied_bytes: int | None = None
    hashed_bytes: int | None = None

    def must_be_logged(self) -> bool:
        """Where a user had logged in: it has the sums of what moved."""
        return self.received_bytes is not None


# Logins.


class LoginFacts(TypedDict):
    """The fields of a `LoginEvent`, for an event that is chosen later."""

    user: str
    method: str
    fingerprint: str | None
    certificate: str | None


@dataclass(frozen=True, kw_only=True)
class LoginEvent(Event):
    """A client has asked to log in.

    :param user: the user name that the client gave.
    :param method: ``publickey``, ``password`` or ``keyboard-interactive``; of a login that needed
        several, all of them with ``+`` between.
    :param fingerprint: the fingerprint of the client's public key.
    :param certificate: the key id and the serial number of the client's certificate, and the
        fingerprint of the authority.
    """

    user: str
    method: str
    fingerprint: str | None = None
    certificate: str | None = None


@dataclass(frozen=True, kw_only=True)
class LoginSucceeded(LoginEvent):
    """A user has logged in.

    :param policy: the strictest ``[ssh] policy`` that would have let the client in; none if only
        lists of algorithms let it in that no policy has.
    :param proofs: what the user has proven, as ``require`` writes it, where that was more than one.
    """

    event_name: ClassVar[str] = "login-succeeded"
    is_audited: ClassVar[bool] = True

    policy: str | None = None
    proofs: str | None = None


@dataclass(frozen=True, kw_only=True)
class LoginContinues(LoginEvent):
    """A user has proven something, and must prove more, as ``require`` says.

    :param needs: of which one must be next: ``publickey``, ``password``, ``totp``.
    """

    event_name: ClassVar[str] = "login-continues"

    needs: str


@dataclass(frozen=True, kw_only=True)
class LegacyLogin(Event):
    """A user has logged in with algorithms that only the policy ``legacy`` lets in.

    :param user: the user's name.
    :param client: the client's version, as it came.
    :param algorithms: these algorithms.
    """

    event_name: ClassVar[str] = "legacy-login"
    level: ClassVar[EventLevel] = EventLevel.WARNING
    advice: ClassVar[str] = (
        "Ask the partner to update the client. Once no such line comes any more, set "
        "``[ssh] policy = compatible``."
    )

    user: str
    client: str
    algorithms: str


@dataclass(frozen=True, kw_only=True)
class LoginKeyUnfit(LoginEvent):
    """A key was not looked at: because of its type or size, or of how the client signs with it.

    :param reason: why.
    :param lets_in: the setting that would let it in.
    :param client: the client's version, as it came.
    """

    event_name: ClassVar[str] = "login-key-unfit"
    level: ClassVar[EventLevel] = EventLevel.WARNING
    advice: ClassVar[str] = (
        "``reason`` says what is wrong with the key or the client. A new key, ed25519 or RSA of "
        "3072 bits, helps against its type and size. Against SHA-1 an update of the client helps; "
        "if there is none, an ed25519 or ECDSA key, or the setting that ``lets_in`` names. Many "
        "clients then try another key, and succeed."
    )

    reason: str
    lets_in: str
    client: str


@dataclass(frozen=True, kw_only=True)
class LoginFailedEvent(LoginEvent):
    """A login with a wrong password or code, an unknown user or a key that is not the user's.

    :param reason: what is wrong with a one-time code, a certificate or the options of a key, with
        the order of the proofs, or with the account of a user whose proof was right.
    """

    event_name: ClassVar[str] = "login-failed"
    level: ClassVar[EventLevel] = EventLevel.WARNING
    advice: ClassVar[str] = (
        "A user of yours: compare ``key`` with ``ssh-keygen -lf`` of the key in "
        "``authorized_keys``, or make a new ``password_hash``. Names that are no users, from one "
        "address: passwords are guessed; block the address in the firewall. A ``reason`` with "
        "clocks: set the clock of the phone or of the gateway. One with ``require``: the client "
        "must give another proof first."
    )

    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class KeyNotAuthorised(LoginEvent):
    """A client has asked whether a key would do, and it would not. Most then offer another one.

    :param reason: why, if there is more to say than that the user has no such key.
    """

    event_name: ClassVar[str] = "key-not-authorised"

    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class LoginRefused(LoginEvent):
    """A login that was right, and was refused all the same.

    :param reason: why.
    """

    event_name: ClassVar[str] = "login-refused"
    level: ClassVar[EventLevel] = EventLevel.WARNING
    advice: ClassVar[str] = (
        "The user has too many connections. Ask for fewer at the same time, or raise "
        "``[ssh] connections_per_user``, or the user's ``max_sessions``."
    )

    reason: str


@dataclass(frozen=True, kw_only=True)
class Banned(Event):
    """An address, or a user at an address, is kept out for a while after failed logins.

    :param address: the IPv4 address, or the IPv6 /64.
    :param user: whom it concerns there; left out if it is all users.
    :param score: the points that have led to it, as ``[lockout]`` counts them.
    :param seconds: how long it lasts.
    :param count: which ban of this address, or of this user there, it is.
    :param reason: the last failure.
    """

    event_name: ClassVar[str] = "banned"
    level: ClassVar[EventLevel] = EventLevel.WARNING
    advice: ClassVar[str] = (
        "An unknown address: nothing is to be done. A partner's: mend the password that its client "
        "has stored, then run ``sftpgw unban`` with the address or the user. A partner who shares "
        "the address with others: add it to ``[lockout] allow_networks``."
    )

    address: str
    user: str | None = None
    score: int
    seconds: float
    count: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class Unbanned(Event):
    """The operator has ended a ban.

    :param address: the address or /64.
    :param user: whom the ban concerned there; left out if it was all users.
    """

    event_name: ClassVar[str] = "unbanned"

    address: str
    user: str | None = None


# Requests and channels.


@dataclass(frozen=True, kw_only=True)
class RequestRefused(Event):
    """A request of a client was refused: of SFTP, of a command, or for a channel of SSH.

    :param request: the request of SFTP, or ``command``.
    :param status: the status code of SFTP.
    :param reason: the sentence that the client was sent.
    :param kind: of SSH: a channel, a request for one, or a global request.
    :param name: its name in SSH.
    """

    event_name: ClassVar[str] = "request-refused"

    request: str | None = None
    status: str | None = None
    reason: str | None = None
    kind: str | None = None
    name: str | None = None


@dataclass(frozen=True, kw_only=True)
class RefusalsRepeated(Event):
    """The same refusal came again for one handle, as it does when an upload has failed.

    :param times: how often after the first one.
    :param reason: the sentence that the client was sent.
    """

    event_name: ClassVar[str] = "refusals-repeated"

    times: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class RequestMalformed(Event):
    """A request of SFTP could not be parsed.

    :param reason: what was wrong.
    """

    event_name: ClassVar[str] = "request-malformed"

    reason: str


@dataclass(frozen=True, kw_only=True)
class StreamLost(Event):
    """The stream of SFTP cannot be followed any more, so that its channel ends.

    :param reason: what was wrong.
    """

    event_name: ClassVar[str] = "stream-lost"

    reason: str


@dataclass(frozen=True, kw_only=True)
class AnswersUnread(Event):
    """A client did not read its replies while other clients waited for memory; its channel ends.

    :param size_bytes: the bytes that it had left unread.
    """

    event_name: ClassVar[str] = "answers-unread"

    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class CommandEnded(Event):
    """A command that a client had executed has ended: scp, a checksum, ``pwd``.

    :param command: the command line.
    :param status: its exit status.
    :param input_bytes: what the client sent to it.
    :param output_bytes: what the client was sent.
    """

    event_name: ClassVar[str] = "command-ended"

    command: bytes
    status: int
    input_bytes: int
    output_bytes: int
