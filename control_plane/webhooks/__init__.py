"""Deliveries to the callers' own URLs: the role `webhooks`, and what the API needs of it."""
