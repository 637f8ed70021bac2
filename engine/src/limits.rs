//! The engine's limits, in one table: what is bounded, by how much, and what happens when it is reached.
//!
//! `velocore limits` prints this table behind those of the other crates. What the user sets (time to live, rolling
//! of files, memory) is not here: it stands where it is set.
//!
//! **Invariant.** A limit names the test that reaches it; `tests/tests/architecture.rs` looks whether that test is there.

/// One limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The constant's name.
    pub name: &'static str,
    /// Its value.
    pub value: u64,
    /// What is counted.
    pub unit: &'static str,
    /// What happens when it is reached.
    pub reached: &'static str,
    /// The test that reaches it.
    pub test: &'static str,
}

/// Declares limits as constants, and the table of them: `NAME: type = value, "unit", "what happens", test;`.
#[macro_export]
macro_rules! limits {
    ($($(#[$attribute:meta])* $name:ident: $type:ty = $value:expr, $unit:literal, $reached:literal, $test:ident;)*) => {
        $($(#[$attribute])* pub const $name: $type = $value;)*

        /// All limits of this crate.
        pub const TABLE: &[$crate::limits::Limit] = &[$($crate::limits::Limit {
            name: stringify!($name),
            value: $value as u64,
            unit: $unit,
            reached: $reached,
            test: stringify!($test),
        }),*];
    };
}

limits! {
    /// The most rows a batch has.
    BATCH_ROWS_MAX: usize = 8192, "rows of a batch",
        "a source hands over the rest at its next turn, an operator emits several batches",
        a_large_window_fires_in_quanta_and_rows_that_come_between_wait;
    /// Rows that a firing operator emits at most before it lets the shard do something else.
    FIRING_QUANTUM_ROWS: usize = 16_384, "rows of a firing at once",
        "the firing pauses, and goes on at the shard's next step",
        a_large_window_fires_in_quanta_and_rows_that_come_between_wait;
    /// Groups of a chunk: what an operator with little state writes into a snapshot before it lets the shard do something else.
    RECORDED_GROUPS_MAX: usize = 2_048, "groups written into a snapshot together",
        "the writing pauses, and goes on at the shard's next step",
        a_state_that_changes_while_it_is_written_is_written_as_it_was;
    /// Chunks that an operator with much state writes into a snapshot before it lets the shard do something else.
    RECORDED_CHUNKS_MAX: usize = 8, "chunks written into a snapshot at once",
        "the writing pauses, and goes on at the shard's next step",
        of_a_large_state_several_chunks_are_written_at_once;
    /// Pairs that a join tries at once, roughly.
    JOIN_PAIRS_MAX: usize = 16_384, "pairs of a join tried at once",
        "the batch is worked off in several parts",
        a_key_with_many_rows_is_joined_in_parts;
    /// Groups that a local phase holds before a flush is forced: keys and states stay in the core's cache.
    LOCAL_GROUPS_MAX: usize = 16_384, "groups of a local phase",
        "what was combined so far goes to the owners",
        a_local_phase_hands_over_when_it_holds_as_many_groups_as_it_may;
    /// Combinations of codes that a table keeps the groups of while it is small: there may be many tables.
    CODES_OF_SMALL_TABLE_MAX: usize = 1 << 13, "combinations of dictionary codes, few groups",
        "keys are packed and hashed",
        too_many_combinations_and_plain_columns_are_packed;
    /// The same for a table of many groups: what is kept stays in a near cache.
    CODES_OF_TABLE_MAX: usize = 1 << 16, "combinations of dictionary codes",
        "keys are packed and hashed",
        too_many_combinations_and_plain_columns_are_packed;
    /// Slots of the largest sub-table of a hash table: what a resize copies at most.
    SUB_TABLE_SLOTS_MAX: usize = 1 << 15, "slots of a part of a hash table",
        "the part is split in two, the others stay as they are",
        every_row_is_found_again_while_sub_tables_grow_and_split;
    /// Longest record that is accepted.
    RECORD_BYTES_MAX: usize = 16 << 20, "bytes of a record",
        "an error with file and line; the job stops after what was complete",
        a_line_of_100_megabytes_is_refused_in_bounded_memory;
    /// Bytes that one call of [`Decoder::decode`](crate::formats::Decoder::decode) consumes at most, one record
    /// excepted: text columns are addressed with 32 bits.
    DECODE_BYTES_MAX: usize = 64 << 20, "bytes decoded at once",
        "the rest is decoded at the source's next turn",
        one_call_decodes_a_bounded_number_of_bytes;
    /// Keys of a JSON object whose order is remembered.
    OBJECT_KEYS_MAX: usize = 256, "keys of a JSON object",
        "the keys behind are looked up by name, which takes longer",
        an_object_with_more_keys_than_are_remembered_is_read_all_the_same;
    /// Levels of objects and arrays in JSON that are accepted.
    JSON_DEPTH_MAX: usize = 64, "levels of a JSON value",
        "the record counts as malformed",
        deep_nesting_is_an_error_and_not_a_stack_overflow;
    /// How deep types may nest.
    TYPE_NESTING_MAX: usize = 24, "levels of a nested type",
        "the statement is refused",
        deep_nesting_is_an_error_and_not_a_crash;
    /// How deep expressions may nest: walks over the tree are recursive.
    EXPRESSION_DEPTH_MAX: usize = 160, "levels of an expression",
        "the statement is refused",
        a_chain_of_operators_is_read_up_to_a_bound_and_refused_beyond;
    /// Longest run of tokens between commas in one pair of parentheses.
    OPERAND_RUN_MAX: usize = 4_000, "tokens between two commas",
        "the statement is refused",
        an_expression_too_deep_for_the_stack_is_refused;
    /// Most UNION, EXCEPT and INTERSECT in one statement.
    SET_OPERATIONS_MAX: usize = 200, "set operations of a statement",
        "the statement is refused",
        a_chain_of_operators_is_read_up_to_a_bound_and_refused_beyond;
    /// The longest text that padding makes.
    PADDED_LETTERS_MAX: i64 = 1 << 24, "characters of a padded text",
        "the job stops with an error that names the length asked for",
        functions_that_could_make_too_much_are_bounded;
    /// The longest padding and the most digits that PRINTF makes of a value.
    PRINTF_WIDTH_MAX: usize = 10_000, "characters of a value in PRINTF",
        "the text is NULL, as with any format that is none",
        printf_writes_by_a_format;
    /// The longest look ahead: every partition may hold that many rows.
    LEAD_OFFSET_MAX: i64 = 1_000_000, "rows that LEAD looks ahead",
        "the statement is refused",
        errors_of_the_plan_point_at_what_is_wrong;
    /// Variables of one PATTERN: which of them a row may be taken for is a word of bits.
    MATCH_VARIABLES_MAX: usize = 64, "variables of a PATTERN",
        "the statement is refused",
        patterns_are_bounded;
    /// Steps of one PATTERN once its quantifiers are written out.
    MATCH_STEPS_MAX: u64 = 10_000, "steps of a PATTERN",
        "the statement is refused",
        patterns_are_bounded;
    /// The farthest row that FIRST, LAST and PREV of a pattern count to: PREV keeps that many of each partition.
    MATCH_OFFSET_MAX: usize = 1_000_000, "rows that FIRST, LAST and PREV of a PATTERN count",
        "the statement is refused",
        patterns_are_bounded;
    /// Values that one call of ARRAY_REPEAT may make of a batch, so that a typing error does not take all memory.
    REPEATED_MAX: usize = 16 << 20, "values of ARRAY_REPEAT in a batch",
        "the job stops with an error",
        functions_that_could_make_too_much_are_bounded;
    /// Compiled regular expressions kept per thread.
    COMPILED_MAX: usize = 256, "compiled patterns of a thread",
        "all are dropped and compiled again as they come",
        no_more_patterns_are_kept_than_the_cache_holds;
    /// Longest random text of datagen: a batch of them stays below 2 GiB.
    RANDOM_LETTERS_MAX: usize = 1 << 17, "characters of a random text",
        "the table is refused",
        texts_longer_than_a_batch_could_hold_are_refused;
}
