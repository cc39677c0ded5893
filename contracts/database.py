"""The database schema, as those know it who do not carry its migrations."""

SCHEMA_REVISION = "0011"
"""The revision that this version's services need. It moves with the migrations of `control_plane`; a test compares the two."""

TENANT_ROLE = "stratum_tenant"
"""The role, of the whole server, that requests of a tenant run as. Migrations make it where they may."""
