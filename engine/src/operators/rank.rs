//! Top-N: the first rows of each partition by some order, kept up to date as rows come and go.
//!
//! `ranking` keeps the rows in order, `sort_key` makes the order comparable. A batch is applied whole; then
//! each partition it touched is compared with what was said of it before, so that a row that came and went
//! within a batch is never told. Without the rank as a column only rows that enter or leave are told; with
//! it every row whose rank changed.
//!
//! With a time to live, a partition that no row entered or left for that long is forgotten: what was said of
//! it stays, and it starts anew with its next row.
//!
//! **Invariant.** Folding what was emitted gives the first rows of each partition over all rows processed.
//! With EMIT FINAL they are emitted once, in order, at the end.

pub(crate) mod ranking;
pub(crate) mod sort_key;

#[cfg(test)]
mod expiry_tests;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int8Array, Int64Array};
use arrow::datatypes::SchemaRef;

use crate::batch::{BATCH_ROWS_MAX, Batch, Op};
use crate::error::ExecutionError;
use crate::operators::{FIRING_QUANTUM_ROWS, Firing, Operator, OperatorStatistics, Output};
use crate::plan::{RankFunction, RankSpec};
use crate::snapshot::{StateReader, StateWriter};
use crate::sql::statement::Emit;
use crate::state::changes::rows_of;
use crate::state::group_table::GroupIndex;
use crate::state::row_store::{RowId, RowStore};
use crate::time::{WATERMARK_END, WatermarkUs};

use ranking::{Ranked, Ranking};

/// The Top-N operator.
pub struct Rank {
    ranking: Ranking,
    output: SchemaRef,
    output_rank: bool,
    /// Two rows never share a rank.
    unique_ranks: bool,
    emit: Emit,
    append_only: bool,
    /// EMIT FINAL: the next partition to emit, once the end has come.
    next: Option<usize>,
}

/// What is said of one batch.
#[derive(Default)]
struct Told {
    ops: Vec<i8>,
    rows: Vec<RowId>,
    ranks: Vec<i64>,
}

impl Told {
    fn say(&mut self, op: Op, ranked: Ranked) {
        self.ops.push(op.code());
        self.rows.push(ranked.row);
        self.ranks
            .push(i64::try_from(ranked.rank).expect("invariant: ranks are small"));
    }
}

impl Rank {
    /// The operator of `spec`; output = input columns, then the rank if it is asked for.
    pub fn new(spec: &RankSpec, input: SchemaRef, output: SchemaRef) -> Result<Rank, ExecutionError> {
        Ok(Rank {
            ranking: Ranking::new(spec, &input)?,
            output,
            output_rank: spec.output_rank,
            unique_ranks: spec.function == RankFunction::RowNumber,
            emit: spec.emit,
            append_only: spec.is_append_only(),
            next: None,
        })
    }

    fn emit(&self, told: &Told, out: &mut Output) -> Result<(), ExecutionError> {
        for start in (0..told.rows.len()).step_by(BATCH_ROWS_MAX) {
            let range = start..told.rows.len().min(start + BATCH_ROWS_MAX);
            let columns = ranked_columns(
                &self.ranking.store,
                &told.rows[range.clone()],
                self.output_rank.then(|| &told.ranks[range.clone()]),
            )?;
            let rows = rows_of(&self.output, columns, range.len())?;
            if self.append_only || self.emit == Emit::Final {
                out.emit_rows(rows);
            } else {
                out.emit_changes(rows, Int8Array::from(told.ops[range].to_vec()));
            }
        }
        Ok(())
    }

    /// What changed between two views of a partition.
    fn compare(&self, old: &[Ranked], new: &[Ranked], told: &mut Told) {
        if self.output_rank && self.unique_ranks {
            for at in 0..old.len().max(new.len()) {
                match (old.get(at), new.get(at)) {
                    (Some(old), Some(new)) if old != new => {
                        told.say(Op::UpdateBefore, *old);
                        told.say(Op::UpdateAfter, *new);
                    }
                    (Some(old), None) => told.say(Op::Delete, *old),
                    (None, Some(new)) => told.say(Op::Insert, *new),
                    _ => {}
                }
            }
            return;
        }
        let same = |left: &Ranked, right: &Ranked| {
            left.row == right.row && (!self.output_rank || left.rank == right.rank)
        };
        let gone = missing(old, new, same);
        let come = missing(new, old, same);
        if let ([gone], [come]) = (gone.as_slice(), come.as_slice()) {
            told.say(Op::UpdateBefore, *gone);
            told.say(Op::UpdateAfter, *come);
            return;
        }
        gone.into_iter().for_each(|ranked| told.say(Op::Delete, ranked));
        come.into_iter().for_each(|ranked| told.say(Op::Insert, ranked));
    }

    /// EMIT FINAL: about a quantum of partitions.
    fn emit_final(&mut self, out: &mut Output) -> Result<Firing, ExecutionError> {
        let Some(mut group) = self.next else {
            return Ok(Firing::Done);
        };
        let mut told = Told::default();
        while group < self.ranking.partitions() && told.rows.len() < FIRING_QUANTUM_ROWS {
            for ranked in self.ranking.visible(group as GroupIndex) {
                told.say(Op::Insert, ranked);
            }
            group += 1;
        }
        self.emit(&told, out)?;
        self.next = (group < self.ranking.partitions()).then_some(group);
        Ok(match self.next {
            Some(_) => Firing::More,
            None => Firing::Done,
        })
    }
}

/// The ranked rows of `of` that are not in `other`.
fn missing(of: &[Ranked], other: &[Ranked], same: impl Fn(&Ranked, &Ranked) -> bool) -> Vec<Ranked> {
    const SCANNED_MAX: usize = 32;
    if other.len() <= SCANNED_MAX {
        let is_missing = |ranked: &&Ranked| !other.iter().any(|known| same(known, ranked));
        return of.iter().filter(is_missing).copied().collect();
    }
    let by_row: std::collections::BTreeMap<RowId, &Ranked> =
        other.iter().map(|known| (known.row, known)).collect();
    let is_missing = |ranked: &&Ranked| !by_row.get(&ranked.row).is_some_and(|known| same(known, ranked));
    of.iter().filter(is_missing).copied().collect()
}

/// The columns of ranked rows.
pub(crate) fn ranked_columns(
    store: &RowStore,
    rows: &[RowId],
    ranks: Option<&[i64]>,
) -> Result<Vec<ArrayRef>, ExecutionError> {
    let mut columns = store.gather_columns(rows)?;
    if let Some(ranks) = ranks {
        columns.push(Arc::new(Int64Array::from(ranks.to_vec())));
    }
    Ok(columns)
}

impl Operator for Rank {
    fn process(&mut self, _input: usize, batch: Batch, out: &mut Output) -> Result<(), ExecutionError> {
        let (rows, ops, _) = batch.into_parts();
        let ops = ops.as_ref().map(|ops| ops.values().as_ref());
        if self.emit == Emit::Final {
            self.ranking.apply(&rows, ops, |_, _| {})?;
            return self.ranking.forget_dropped();
        }
        self.ranking.note_time(out.arrival());
        let mut order: Vec<GroupIndex> = Vec::new();
        let mut before: HashMap<GroupIndex, Vec<Ranked>, FixedState> = HashMap::default();
        self.ranking.apply(&rows, ops, |ranking, group| {
            before.entry(group).or_insert_with(|| {
                order.push(group);
                ranking.visible(group)
            });
        })?;
        let mut told = Told::default();
        for group in order {
            self.compare(&before[&group], &self.ranking.visible(group), &mut told);
        }
        self.emit(&told, out)?;
        self.ranking.sweep();
        self.ranking.forget_dropped()
    }

    fn advance(&mut self, watermark: WatermarkUs, out: &mut Output) -> Result<Firing, ExecutionError> {
        if watermark == WATERMARK_END && self.emit == Emit::Final {
            self.next = Some(0);
        }
        self.emit_final(out)
    }

    fn resume(&mut self, out: &mut Output) -> Result<Firing, ExecutionError> {
        self.emit_final(out)
    }

    fn snapshot(&mut self, into: &mut StateWriter) -> Result<(), ExecutionError> {
        self.ranking.begin_recording(into)
    }

    fn record(&mut self, into: &mut StateWriter) -> Result<Firing, ExecutionError> {
        Ok(Firing::done_if(self.ranking.record(into)?))
    }

    fn restore(&mut self, from: &StateReader<'_>) -> Result<(), ExecutionError> {
        self.ranking.apply(&from.rows("rows")?, None, |_, _| {})?;
        self.ranking.thaw_ages(from)?;
        self.ranking.forget_dropped()
    }

    fn statistics(&self) -> OperatorStatistics {
        OperatorStatistics {
            state_bytes: self.ranking.bytes() as u64,
            keys: self.ranking.store.len() as u64,
            late_rows: 0,
        }
    }
}

/// A hasher without chance in it.
type FixedState = std::hash::BuildHasherDefault<std::hash::DefaultHasher>;
