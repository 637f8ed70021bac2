//! Deterministic event generators: event `i` of seed `s` is always the same event.
