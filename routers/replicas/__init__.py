"""Reads from replicas that never miss a write of their account."""
