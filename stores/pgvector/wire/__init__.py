"""PostgreSQL's binary format, written and read by column. ``verify`` uses another format and other code. Pure."""
