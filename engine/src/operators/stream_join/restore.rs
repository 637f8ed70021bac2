//! The rows of a join's sides back from a snapshot, with what was known of them.
//!
//! **Invariant.** Nothing is matched or said: the rows met each other before.

use arrow::array::{AsArray, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::Int64Type;

use crate::error::ExecutionError;
use crate::operators::stream_join::{StreamJoin, join_error};
use crate::snapshot::leading;
use crate::state::hash::hash_columns;

impl StreamJoin {
    /// Takes rows of a side back, with how many rows they match and when they arrived.
    pub(super) fn restore_side(&mut self, number: usize, rows: &RecordBatch) -> Result<(), ExecutionError> {
        let schema = self.sides[number].store.schema().clone();
        let width = schema.fields().len();
        let arrivals = rows.column(width + 1).as_primitive::<Int64Type>();
        // Rows of several shards come together: what arrived first expires first.
        let mut order: Vec<u32> = (0..rows.num_rows() as u32).collect();
        order.sort_by_key(|&row| arrivals.value(row as usize));
        let rows = take_record_batch(rows, &UInt32Array::from(order)).map_err(join_error)?;
        let matches = rows.column(width).as_primitive::<Int64Type>();
        let arrivals = rows.column(width + 1).as_primitive::<Int64Type>();
        let rows = leading(&rows, &schema)?;
        let groups = self.groups_of(number, &rows);
        let mut hashes = vec![0; rows.num_rows()];
        if self.spec.retracts[number] {
            hash_columns(rows.columns(), &mut hashes);
        }
        let useless_at = self.useless_at(number, &rows);
        let expires = self.spec.ttl_us[number].is_some();
        let side = &mut self.sides[number];
        let mut start = 0;
        for run in arrivals
            .values()
            .chunk_by(|left, right| !expires || left == right)
        {
            let range = start..start + run.len();
            start = range.end;
            let (part, arrival) = (rows.slice(range.start, run.len()), run[0] as u64);
            let ids = side.insert(&part, &groups[range.clone()], &hashes[range.clone()], arrival)?;
            let ids = ids.to_vec();
            if expires {
                side.note_arrival(arrival);
            }
            for (row, id) in range.zip(ids) {
                if self.spec.counts_matches(number) {
                    *side.matches_mut(id) = u32::try_from(matches.value(row)).map_err(join_error)?;
                }
                if let Some(times) = &useless_at {
                    side.expire_at(id, times[row]);
                }
            }
        }
        Ok(())
    }
}
