//! The shard: `step` drains the inbox, polls sources, runs operators, flushes the exchange.
