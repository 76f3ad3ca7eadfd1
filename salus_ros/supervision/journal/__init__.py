"""The journal: every act of the gate on disk, in lines chained by hashes (docs/journal.md).

`feeder` is the supervisor's side, `writer` the process that writes, `verification` and `reading`
are for afterwards. All but `records` need only the standard library.
"""
