"""Session policies of AWS Transfer Family: their variables are filled in.

Knows: the variables, and what they stand for.
Must not know: which service has sent the policy.

A service that knows users may answer with such a policy. Values stand for themselves in it,
whatever characters they have.

https://docs.aws.amazon.com/transfer/latest/userguide/session-policy.html
"""

from __future__ import annotations

import json

from sftpgw.aws.session_policy.plan.document import literal
from sftpgw.aws.session_policy.plan.session_policy import MAX_POLICY_CHARACTERS
from sftpgw.errors import NoSessionPolicy
from sftpgw.model.mounts import Mount

MAX_TEMPLATE_CHARACTERS = 4 * MAX_POLICY_CHARACTERS


def filled_policy(text: str, user: str, home: Mount) -> str:
    """The policy, as it is handed to STS.

    :param text: the policy with its variables.
    :param user: the user's name.
    :param home: the user's first mount.
    :raises NoSessionPolicy: it is no policy that AWS would take.
    """
    if len(text) > MAX_TEMPLATE_CHARACTERS:
        raise NoSessionPolicy(f"{user}: has a Policy of over {MAX_TEMPLATE_CHARACTERS} characters")
    folder = home.key_prefix.removesuffix("/")
    values = {
        "HomeBucket": home.bucket,
        "HomeDirectory": f"{home.bucket}/{folder}".removesuffix("/"),
        "HomeFolder": folder,
        "UserName": user,
    }
    for name, value in values.items():
        text = text.replace(f"${{transfer:{name}}}", json.dumps(literal(value))[1:-1])
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or not document.get("Statement"):
        raise NoSessionPolicy(f"{user}: has a Policy that is not the JSON of a policy")
    if "${transfer:" in text:
        raise NoSessionPolicy(f"{user}: has a Policy with a variable of transfer: that is unknown")
    filled = json.dumps(document, separators=(",", ":"))
    if len(filled) > MAX_POLICY_CHARACTERS:
        raise NoSessionPolicy(
            f"{user}: has a Policy of {len(filled)} characters, and AWS takes "
            f"{MAX_POLICY_CHARACTERS}"
        )
    return filled
