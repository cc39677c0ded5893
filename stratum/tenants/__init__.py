"""Tenants of a release on Kubernetes: made, listed, limited and removed by way of the chart's values."""
