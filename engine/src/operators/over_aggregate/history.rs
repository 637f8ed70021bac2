//! What one partition remembers for one call: the values in the frame, and what they add up to.

use std::collections::VecDeque;

/// How values in a frame combine.
pub(super) trait Combine {
    /// A value, as its column holds it.
    type Value: Clone;
    /// The state over the values in the frame.
    type State: Default;

    /// The frame gains `value` (not NULL) at its end; `position` counts the rows of the partition.
    fn add(state: &mut Self::State, value: &Self::Value, position: u64);

    /// The frame loses `value` (not NULL) at its start.
    fn remove(state: &mut Self::State, value: &Self::Value, position: u64);

    /// Called when values were removed often enough that rounding could show: `values` are all
    /// that is in the frame.
    fn refresh(_state: &mut Self::State, _values: &mut dyn Iterator<Item = &Self::Value>) {}
}

/// The frame of one partition.
pub(super) struct History<C: Combine> {
    state: C::State,
    /// (event time, value) of the rows in the frame; empty for unbounded frames.
    rows: VecDeque<(i64, Option<C::Value>)>,
    /// The position of the first row in `rows`.
    first: u64,
    removed: usize,
    /// Values in the frame that are not NULL.
    present: u64,
}

impl<C: Combine> Default for History<C> {
    fn default() -> History<C> {
        History {
            state: C::State::default(),
            rows: VecDeque::new(),
            first: 0,
            removed: 0,
            present: 0,
        }
    }
}

impl<C: Combine> History<C> {
    /// The row at `time` enters the frame; `keep` unless nothing ever leaves.
    pub(super) fn push(&mut self, time: i64, value: Option<C::Value>, keep: bool) {
        let position = self.first + self.rows.len() as u64;
        if let Some(value) = &value {
            self.present += 1;
            C::add(&mut self.state, value, position);
        }
        if keep {
            self.rows.push_back((time, value));
        } else {
            self.first += 1;
        }
    }

    /// Lets the oldest rows go until `count` are left.
    pub(super) fn keep_last(&mut self, count: usize) {
        while self.rows.len() > count {
            self.pop();
        }
    }

    /// Lets rows before `time` go.
    pub(super) fn keep_from(&mut self, time: i64) {
        while self.rows.front().is_some_and(|(at, _)| *at < time) {
            self.pop();
        }
    }

    fn pop(&mut self) {
        let Some((_, value)) = self.rows.pop_front() else {
            return;
        };
        let position = self.first;
        self.first += 1;
        if let Some(value) = value {
            self.present -= 1;
            C::remove(&mut self.state, &value, position);
            self.removed += 1;
            if self.removed > self.rows.len().max(16) {
                self.removed = 0;
                C::refresh(
                    &mut self.state,
                    &mut self.rows.iter().filter_map(|(_, value)| value.as_ref()),
                );
            }
        }
    }

    /// The state, if a value that is not NULL is in the frame.
    pub(super) fn state(&self) -> Option<&C::State> {
        (self.present > 0).then_some(&self.state)
    }

    /// Values in the frame that are not NULL.
    pub(super) fn present(&self) -> u64 {
        self.present
    }

    pub(super) fn bytes(&self) -> usize {
        self.rows.capacity() * size_of::<(i64, Option<C::Value>)>() + size_of::<Self>()
    }
}

/// Sums of integers and decimals, exact.
pub(super) struct ExactSum;

impl Combine for ExactSum {
    type Value = i128;
    type State = i128;

    fn add(state: &mut i128, value: &i128, _position: u64) {
        *state += value;
    }

    fn remove(state: &mut i128, value: &i128, _position: u64) {
        *state -= value;
    }
}

/// Sums of floats: compensated (Neumaier), and summed anew once per frame length, so that what
/// has left the frame leaves no trace beyond the last digits.
pub(super) struct FloatSum;

impl Combine for FloatSum {
    type Value = f64;
    /// (sum, compensation).
    type State = (f64, f64);

    fn add(state: &mut (f64, f64), value: &f64, _position: u64) {
        let sum = state.0 + value;
        state.1 += if state.0.abs() >= value.abs() {
            (state.0 - sum) + value
        } else {
            (value - sum) + state.0
        };
        state.0 = sum;
    }

    fn remove(state: &mut (f64, f64), value: &f64, position: u64) {
        FloatSum::add(state, &-value, position);
    }

    fn refresh(state: &mut (f64, f64), values: &mut dyn Iterator<Item = &f64>) {
        *state = (0.0, 0.0);
        for value in values {
            FloatSum::add(state, value, 0);
        }
    }
}

/// The extreme value by a monotonic deque: each value drops those before it that can never win.
pub(super) struct Extreme<V, const MAXIMUM: bool>(std::marker::PhantomData<V>);

/// Values that MIN and MAX compare: floats by total order, so NaN is the greatest.
pub(super) trait Ordered: Clone {
    /// Whether `self` comes before `other`.
    fn before(&self, other: &Self) -> bool;
}

impl Ordered for i128 {
    fn before(&self, other: &i128) -> bool {
        self < other
    }
}

impl Ordered for f64 {
    fn before(&self, other: &f64) -> bool {
        self.total_cmp(other).is_lt()
    }
}

impl Ordered for String {
    fn before(&self, other: &String) -> bool {
        self < other
    }
}

impl<V: Ordered, const MAXIMUM: bool> Combine for Extreme<V, MAXIMUM> {
    type Value = V;
    /// (position, value), the winner first.
    type State = VecDeque<(u64, V)>;

    fn add(state: &mut VecDeque<(u64, V)>, value: &V, position: u64) {
        let loses = |last: &V| {
            if MAXIMUM {
                !value.before(last)
            } else {
                !last.before(value)
            }
        };
        while state.back().is_some_and(|(_, last)| loses(last)) {
            state.pop_back();
        }
        state.push_back((position, value.clone()));
    }

    fn remove(state: &mut VecDeque<(u64, V)>, _value: &V, position: u64) {
        if state.front().is_some_and(|(first, _)| *first == position) {
            state.pop_front();
        }
    }
}
