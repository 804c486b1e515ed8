"""PostgreSQL's binary format, written and read by whole columns; ``verify`` reads another one, by other code. Pure."""
