//! Formats: bytes ⇄ batches. Nothing here knows where the bytes come from.
