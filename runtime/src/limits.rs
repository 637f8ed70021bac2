//! The limits of the process and its connectors, and the whole table; see `engine::limits`.

use engine::limits::Limit;

engine::limits! {
    /// Shards that one process may run; beyond it the mesh of rings costs more memory than it moves.
    SHARDS_MAX: usize = 256, "shards",
        "the job is refused",
        a_job_needs_a_shard_and_not_too_many;
    /// Bytes of standard input asked for in one read, and so the size of a block at most (a longer record aside).
    STDIN_BLOCK_BYTES: usize = 256 << 10, "bytes of a block of standard input",
        "the next block begins",
        a_reader_ahead_of_its_shards_stops;
    /// Blocks of standard input that wait for one shard.
    STDIN_BLOCKS_MAX: usize = 4, "blocks of standard input that wait for a shard",
        "nothing more is read; the producer of the pipe waits",
        a_reader_ahead_of_its_shards_stops;
    /// A block of lines goes to the writer of standard output once it has this many bytes, or at a flush.
    STDOUT_BLOCK_BYTES: usize = 64 << 10, "bytes of a block of standard output",
        "the block goes to the writer",
        a_block_goes_to_the_writer_when_it_is_full;
    /// Blocks that wait for the writer of standard output, over all shards.
    STDOUT_BLOCKS_MAX: usize = 64, "blocks that wait for standard output",
        "sinks take no more, and sources pause",
        every_line_of_every_shard_is_written_before_a_sink_is_closed;
    /// The parts into which a text file is dealt over the shards.
    FILE_BLOCK_BYTES: u64 = 1 << 20, "bytes of a split of a text file",
        "the next split begins, on the next shard",
        a_file_is_dealt_over_the_shards_in_blocks;
    /// Files of a source that a shard keeps open at once.
    OPEN_FILES_MAX: usize = 16, "files of a source open on a shard",
        "the file that is furthest ahead is closed and opened again later",
        files_are_read_by_event_time_and_not_by_their_order;
    /// Rows of a row group of a Parquet part.
    ROW_GROUP_ROWS_MAX: usize = 128 << 10, "rows of a row group of a Parquet part",
        "the next row group begins",
        a_parquet_part_begins_a_row_group_when_one_is_full;
    /// Bytes of messages of a Kafka partition that are decoded together.
    KAFKA_CHUNK_BYTES: usize = 4 << 20, "bytes of Kafka messages decoded at once",
        "the rest waits in the partition's queue",
        a_chunk_is_full_of_messages_or_of_bytes;
    /// Bytes that a shard's Kafka client fetches ahead, over all partitions of a table.
    KAFKA_AHEAD_BYTES: usize = 64 << 20, "bytes fetched ahead of a Kafka source on a shard",
        "its client fetches no more until the shard has taken some",
        the_bytes_fetched_ahead_are_shared_by_the_partitions;
    /// Bytes of messages that wait for a Kafka producer of a shard, unless `properties.*` says otherwise.
    KAFKA_BEHIND_BYTES: usize = 32 << 20, "bytes that wait for a Kafka producer of a shard",
        "the sink takes no more, and sources pause",
        a_sink_whose_producer_is_full_is_not_ready;
    /// Bytes that a shard puts aside for the next transaction while the one before is not committed.
    KAFKA_SPOOL_BYTES: u64 = 256 << 20, "bytes put aside for a Kafka transaction while another is under way",
        "the sink takes no more until the transaction is committed",
        a_spool_is_bounded_while_an_epoch_is_not_committed;
    /// How long an epoch's transaction is tried again while no broker answers.
    KAFKA_COMMIT_PATIENCE_MS: u64 = 300_000, "ms that a Kafka transaction is tried again",
        "the job stops; started again it makes the transaction then",
        a_commit_is_tried_again_until_patience_ends;
    /// Bytes that are asked for in one read of a TCP connection.
    TCP_READ_BYTES: usize = 64 << 10, "bytes read from a TCP connection at once",
        "the rest waits in the kernel, and then the sender does",
        a_sender_waits_for_a_shard_that_does_not_read;
    /// Connections of a TCP source on one shard.
    TCP_CONNECTIONS_MAX: usize = 1_024, "TCP connections of a source on a shard",
        "others wait to be taken until one has ended",
        connections_beyond_the_bound_wait;
    /// Bytes that wait for a TCP peer.
    TCP_BEHIND_BYTES: usize = 64 << 10, "bytes that wait for a TCP peer of a shard",
        "the sink takes no more, and sources pause",
        a_peer_that_does_not_read_holds_the_sink_back;
    /// Bytes of a post to an `http` table.
    HTTP_BODY_BYTES_MAX: usize = 8 << 20, "bytes of the body of a post",
        "it is refused with 413",
        what_cannot_be_taken_is_refused_with_its_reason;
    /// Bodies of posts that are read at the same time.
    HTTP_BODIES_MAX: usize = 16, "bodies of posts that are read at once",
        "the next is read when one has come, or was given up",
        bodies_that_are_read_at_once_are_bounded;
    /// Posts that wait for one shard to decode them.
    HTTP_WAITING_MAX: usize = 4, "posts that wait for a shard",
        "where every shard has as many, a post is refused with 503",
        a_job_that_is_busy_says_so;
    /// Posts whose answer waits for a commit.
    HTTP_POSTS_MAX: usize = 4_096, "posts of a table that are under way",
        "the next is refused with 503",
        posts_under_way_are_bounded;
    /// A graceful stop waits this long for a standard output that takes nothing.
    STOP_PATIENCE_MS: u64 = 5_000, "ms that a stop waits for a reader",
        "the job ends without writing the rest, and says so",
        one_signal_ends_a_job_whose_reader_has_gone_to_sleep;
    /// Signals closer to each other are one: `timeout` sends its signal to the process and to its group.
    SAME_STOP_MS: u64 = 50, "ms in which two signals are one",
        "a signal after it ends the process at once",
        a_signal_that_comes_twice_at_once_is_one;
    /// Checkpoints that are kept.
    EPOCHS_KEPT: usize = 2, "checkpoints kept",
        "the oldest is deleted",
        old_checkpoints_are_deleted_and_a_directory_has_one_user;
    /// A lock in an object store whose holder is on another machine is free once it was not renewed for so long.
    LEASE_MS: u64 = 60_000, "ms that a lock in an object store holds",
        "another process may take the checkpoints over",
        a_lock_is_free_once_it_was_silent_for_a_whole_lease;
    /// Larger files go to an object store in parts of this size.
    UPLOAD_PART_BYTES: usize = 16 << 20, "bytes of a part of an upload",
        "the file goes to the object store in several parts",
        a_large_file_goes_up_in_parts;
    /// Parts of a file that are under way to an object store at once.
    UPLOAD_PARTS_MAX: usize = 4, "parts of an upload under way",
        "the next part waits for one of them",
        a_large_file_goes_up_in_parts;
    /// The shortest interval between two dumps of the histograms.
    HISTOGRAM_INTERVAL_MS_MIN: u64 = 100, "ms between two dumps of histograms, at least",
        "a shorter interval is refused",
        a_duration_is_a_number_and_a_unit;
}

/// The limits of all crates.
pub fn all() -> impl Iterator<Item = &'static Limit> {
    TABLE
        .iter()
        .chain(shards::limits::TABLE)
        .chain(engine::limits::TABLE)
}
