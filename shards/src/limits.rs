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
    /// A file of which less than one in so many bytes is still kept is copied into the newest one.
    FILE_LIVE_SHARE: u64 = 2, "as the share of a snapshot file that is still kept",
        "what is left of the file is copied into the newest one",
        a_file_that_has_lost_most_of_its_parts_is_copied;
    /// Bytes of memory that are kept for the next snapshot file of a shard.
    SPARE_FILE_BYTES_MAX: usize = 64 << 20, "bytes kept for the next snapshot file",
        "the memory of the file goes back, and the next takes some anew",
        the_memory_of_a_file_serves_the_next_unless_it_is_large;
    /// Files of earlier epochs in which the parts of a shard's snapshot may lie.
    FILES_KEPT_MAX: usize = 16, "older files that a snapshot keeps parts in",
        "the smallest of them are copied into the newest one",
        the_smallest_of_many_files_are_copied;
}
