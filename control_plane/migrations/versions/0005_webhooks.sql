-- One delivery for the final state of each process that has a callback URL, written in the transaction of that state.
-- `attempts` fences: who marks a delivery names the attempt it was given.
CREATE TABLE webhook_deliveries (
    id              uuid PRIMARY KEY,
    tenant          text NOT NULL REFERENCES tenants,
    process_id      uuid NOT NULL UNIQUE REFERENCES processes ON DELETE CASCADE,
    type            text NOT NULL CHECK (type IN ('process.succeeded', 'process.failed', 'process.cancelled')),
    url             text NOT NULL,
    host            text NOT NULL,
    state           text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'delivered', 'given_up')),
    attempts        integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    tried_since     timestamptz,
    due_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    leased_until    timestamptz,
    last_attempt_at timestamptz,
    last_status     smallint,
    last_error      text,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at        timestamptz,
    CONSTRAINT ended_deliveries_have_ended CHECK ((state = 'waiting') = (ended_at IS NULL)),
    CONSTRAINT only_waiting_deliveries_are_leased CHECK (leased_until IS NULL OR state = 'waiting'),
    CONSTRAINT given_up_for_a_reason CHECK (state <> 'given_up' OR last_error IS NOT NULL)
);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (host, due_at) WHERE state = 'waiting';
CREATE INDEX webhook_deliveries_leased ON webhook_deliveries (tenant, host) WHERE leased_until IS NOT NULL;
CREATE INDEX webhook_deliveries_newest ON webhook_deliveries (tenant, id DESC);

-- Secrets that sign deliveries, in a table of their own that nothing but signing and the tenant's admin reads. `retires_at`: none, the
-- newest; else replaced, and good for signatures until then.
CREATE TABLE webhook_secrets (
    id         uuid PRIMARY KEY,
    tenant     text NOT NULL REFERENCES tenants,
    secret     text NOT NULL CHECK (secret ~ '^whsec_[A-Za-z0-9+/]{32,}={0,2}$'),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    retires_at timestamptz
);
CREATE UNIQUE INDEX webhook_secrets_newest ON webhook_secrets (tenant) WHERE retires_at IS NULL;
CREATE INDEX webhook_secrets_tenant ON webhook_secrets (tenant);

SELECT confine('webhook_deliveries', 'SELECT, INSERT, UPDATE');
SELECT confine('webhook_secrets', 'SELECT, INSERT, UPDATE, DELETE');
