"""A plugin to start from: a project with one method, written from the files under ``project/``."""
