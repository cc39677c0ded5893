"""`stratum preflight`: the deployment checklist, asked of the real parts. One module a group of checks."""
