//! The limits of what is under way between shards; see `engine::limits`.

engine::limits! {
    /// Messages of one edge that may be under way from one shard to another.
    EDGE_MESSAGES_MAX: usize = 16, "messages of an edge between two shards",
        "rows wait at the sender, whose sources pause",
        the_default_bounds_of_an_edge_hold;
    /// Bytes of one edge that may be under way from one shard to another; one message may always go.
    EDGE_BYTES_MAX: usize = 8 << 20, "bytes of an edge between two shards",
        "rows wait at the sender, whose sources pause",
        the_default_bounds_of_an_edge_hold;
}
