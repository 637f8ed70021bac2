//! Which primitives of a layout one pass over the rows of a batch updates.
//!
//! A pass over rows costs more than what it adds up: finding a row's state again, and its bounds. So a sum, the
//! count of its values and their extremes (`AVG(x), MIN(x), MAX(x)`) are kept up to date in one.
//!
//! **Invariant.** Every primitive that rows update directly is in exactly one step.

use crate::state::accumulators::layout::{Kind, Primitive};

/// Primitives updated together; numbers index the layout's primitives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// One primitive.
    Alone(usize),
    /// A sum, and the count of its values in the word behind it.
    SumAndCount(usize),
    /// The same, and the least and the greatest of the values.
    SumAndExtremes {
        sum: usize,
        least: usize,
        greatest: usize,
    },
}

impl Step {
    /// The primitive whose argument and filter are those of all.
    pub fn first(self) -> usize {
        match self {
            Step::Alone(first) | Step::SumAndCount(first) | Step::SumAndExtremes { sum: first, .. } => first,
        }
    }
}

/// The steps for `primitives`; values of DISTINCT reach theirs through a set.
pub(crate) fn steps_of(primitives: &[Primitive]) -> Vec<Step> {
    let mut is_taken: Vec<bool> = primitives.iter().map(|primitive| primitive.distinct).collect();
    let mut steps = Vec::new();
    for (sum, primitive) in primitives.iter().enumerate() {
        let count = sum + 1;
        let is_counted = primitives
            .get(count)
            .is_some_and(|next| primitive.is_counted_by(next));
        if !is_counted || is_taken[sum] || is_taken[count] {
            continue;
        }
        (is_taken[sum], is_taken[count]) = (true, true);
        let extreme = |kind: Kind| {
            let is_of_same = |other: &Primitive| {
                (other.kind, other.filter, other.distinct) == (kind, primitive.filter, false)
                    && other.arguments == primitive.arguments
            };
            primitives.iter().position(is_of_same)
        };
        match (extreme(Kind::MinWord), extreme(Kind::MaxWord)) {
            (Some(least), Some(greatest)) => {
                (is_taken[least], is_taken[greatest]) = (true, true);
                steps.push(Step::SumAndExtremes { sum, least, greatest });
            }
            _ => steps.push(Step::SumAndCount(sum)),
        }
    }
    let left = (0..primitives.len()).filter(|&primitive| !is_taken[primitive]);
    steps.extend(left.map(Step::Alone));
    // In the order of their arguments, neighbours share what they read.
    steps.sort_by_key(|step| step.first());
    steps
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::DataType;

    use super::*;

    fn primitives(kinds: &[(Kind, usize)]) -> Vec<Primitive> {
        let mut place = 0;
        let primitive = |&(kind, column): &(Kind, usize)| {
            let primitive = Primitive {
                kind,
                arguments: vec![column],
                argument_type: DataType::Float64,
                filter: None,
                distinct: false,
                place,
            };
            place += kind.words();
            primitive
        };
        kinds.iter().map(primitive).collect()
    }

    #[test]
    fn a_sum_takes_its_count_and_both_extremes_with_it() {
        let average = [(Kind::SumFloat, 1), (Kind::Count, 1)];
        let extremes = [(Kind::MinWord, 1), (Kind::MaxWord, 1)];
        let all = [average, extremes].concat();
        let together = Step::SumAndExtremes {
            sum: 0,
            least: 2,
            greatest: 3,
        };
        assert_eq!(steps_of(&primitives(&all)), [together]);
        let turned = [extremes, average].concat();
        let together = Step::SumAndExtremes {
            sum: 2,
            least: 0,
            greatest: 1,
        };
        assert_eq!(steps_of(&primitives(&turned)), [together]);
        // One extreme alone, or of another column, has a pass of its own.
        let one = [average.as_slice(), &[(Kind::MinWord, 1), (Kind::MaxWord, 2)]].concat();
        let apart = [Step::SumAndCount(0), Step::Alone(2), Step::Alone(3)];
        assert_eq!(steps_of(&primitives(&one)), apart);
        let mut distinct = primitives(&all);
        distinct
            .iter_mut()
            .take(2)
            .for_each(|primitive| primitive.distinct = true);
        assert_eq!(steps_of(&distinct), [Step::Alone(2), Step::Alone(3)]);
    }
}
