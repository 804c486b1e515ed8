"""What a run is judged by: load with a ledger of its own, a checker that reads the stores by itself, and faults.

For the demo, for tests and for later proofs; nothing else imports it. It needs the extras ``cli``, ``pgvector``,
``lancedb`` and ``local``. It judges the pipeline, so it shares no code with the pipeline's own checks: what judges
imports nothing of vecferry but this folder (a test knows which files those are).
"""
