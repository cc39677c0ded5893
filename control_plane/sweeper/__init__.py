"""What is left over: found, reported, and removed by policy. Never anything that a manifest names."""
