//! Messages become rows and rows messages, without a broker.
