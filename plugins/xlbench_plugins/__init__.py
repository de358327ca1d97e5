"""The built-in methods, students, encoders, corpora and suites: plugins like any other."""
