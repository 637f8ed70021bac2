//! The mesh: one bounded ring per ordered pair of shards, with credits per edge and sleep flags.
