"""Kafka and PostgreSQL for a machine that has none: started once, found again, stopped by pid.

The command line, the demo and the tests use this folder; nothing else of the package imports it.
"""
