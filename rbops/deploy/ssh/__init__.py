"""rbops's own logins to servers: preflight, lock, transaction, confirmation and status.

What ``ssh`` can log in to, rbops can. :mod:`login` decides how: paramiko where it does all that the server's settings
ask for, OpenSSH's own client for the rest, and for the last word on every login that paramiko does not manage. Host
keys are checked against known_hosts, always; nothing switches that off.

    options.py    the settings of one server, by OpenSSH's own answer (``ssh -G``)
    target.py     how to reach one server and become root on it
    login.py      which of the two clients, and the connection
    library.py    connections of paramiko
    client.py     connections of OpenSSH's client
    known.py      what paramiko can read of known_hosts files
    refused.py    what went wrong, in words
    channel.py    a running command, whichever client carries it
    sudo.py       becoming root
    session.py    commands and conversations
    together.py   all servers at once
"""

from __future__ import annotations

from rbops.deploy.ssh.session import Completed, Conversation, Session, in_time, open_session, require_reachable, run
from rbops.deploy.ssh.target import Target
from rbops.deploy.ssh.together import each, raise_errors

__all__ = [
    "Completed",
    "Conversation",
    "Session",
    "Target",
    "each",
    "in_time",
    "open_session",
    "raise_errors",
    "require_reachable",
    "run",
]
