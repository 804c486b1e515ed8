"""vecferry: move a live vector database to another one."""
