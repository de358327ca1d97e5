"""Plugins: hooks, registry, checks and the template of a new one."""
