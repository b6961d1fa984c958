"""Mail out, by SMTP: messages are made in `message`, sent in `smtp`. Facts: approvals.md section 5."""

from reconciler.clients.mail.message import Letter, letter
from reconciler.clients.mail.smtp import Account, Deferred, Mailer, PasswordAccount, Server, TokenAccount

__all__ = ["Account", "Deferred", "Letter", "Mailer", "PasswordAccount", "Server", "TokenAccount", "letter"]
