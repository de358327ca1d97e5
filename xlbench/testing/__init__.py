"""The conformance kit: a pytest plugin that holds any method to what xlbench promises of methods.

``pytest --xlbench-method NAME`` (again for each further method, or ``all``) runs it; see
:mod:`xlbench.testing.conformance` for what is asserted and :mod:`xlbench.testing.toys` for the toys to write tests
of one's own with.
"""
