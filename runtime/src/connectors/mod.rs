//! Connectors: sources and sinks by the name in `'connector' = '…'`.
