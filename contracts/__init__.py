"""The vocabulary of Stratum as data: messages, documents, names and states.

Everything else imports this package; it imports nothing of Stratum.
"""

CONTRACT_VERSION = 1
"""Version of the storage contract (layout, proposal, manifest). A reader refuses a version it does not know."""
