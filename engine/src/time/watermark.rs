//! Merging watermarks: the minimum over inputs, of which some are idle and some have ended.
//!
//! Pure data: no clock, no threads. Used wherever inputs meet: splits of a source, shards of an
//! exchange, inputs of an operator.

use crate::time::{WATERMARK_END, WATERMARK_NONE, WatermarkUs};

/// What is known of one input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputState {
    /// It has promised this watermark; a lower one than before is ignored.
    Active(WatermarkUs),
    /// It has nothing to say for now and holds nothing back.
    Idle,
    /// It will never say anything again.
    Ended,
}

/// The minimum over inputs; it only rises.
///
/// ```
/// use engine::time::watermark::{InputState, WatermarkMerge};
/// let mut merge = WatermarkMerge::new(2);
/// assert_eq!(merge.update(0, InputState::Active(10)), None, "input 1 has promised nothing");
/// assert_eq!(merge.update(1, InputState::Active(7)), Some(7));
/// assert_eq!(merge.update(1, InputState::Idle), Some(10), "an idle input holds nothing back");
/// assert_eq!(merge.update(1, InputState::Active(8)), None, "what was promised stays promised");
/// ```
#[derive(Clone, Debug)]
pub struct WatermarkMerge {
    inputs: Vec<InputState>,
    /// The highest watermark each input has promised, idle or not.
    promised: Vec<WatermarkUs>,
    merged: WatermarkUs,
    /// What a snapshot says was passed on before.
    restored: WatermarkUs,
}

impl WatermarkMerge {
    /// Over `inputs` inputs, none of which has promised anything.
    pub fn new(inputs: usize) -> WatermarkMerge {
        WatermarkMerge {
            inputs: vec![InputState::Active(WATERMARK_NONE); inputs],
            promised: vec![WATERMARK_NONE; inputs],
            merged: WATERMARK_NONE,
            restored: WATERMARK_NONE,
        }
    }

    /// From a snapshot: `merged` was passed on before. It is passed on once more when it is reached again,
    /// so that who is told anew knows it; anything lower is not.
    pub fn restore(&mut self, merged: WatermarkUs) {
        self.merged = merged.saturating_sub(1);
        self.restored = merged;
    }

    /// Adds an input that has promised nothing; answers its number.
    pub fn add_input(&mut self) -> usize {
        self.inputs.push(InputState::Active(WATERMARK_NONE));
        self.promised.push(WATERMARK_NONE);
        self.inputs.len() - 1
    }

    /// Input `input` is now in `state`; answers the merged watermark if it rose.
    pub fn update(&mut self, input: usize, state: InputState) -> Option<WatermarkUs> {
        self.inputs[input] = match state {
            InputState::Active(watermark) => {
                self.promised[input] = self.promised[input].max(watermark);
                InputState::Active(self.promised[input])
            }
            other => other,
        };
        let merged = self.minimum()?;
        if merged <= self.merged {
            return None;
        }
        self.merged = merged;
        Some(merged)
    }

    /// The merged watermark.
    pub fn merged(&self) -> WatermarkUs {
        self.merged.max(self.restored)
    }

    /// What the active inputs other than `input` hold the watermark back to; the end if nothing does.
    pub fn minimum_without(&self, input: usize) -> WatermarkUs {
        let others = self
            .inputs
            .iter()
            .enumerate()
            .filter(|&(other, _)| other != input);
        let active = others.filter_map(|(_, state)| match state {
            InputState::Active(watermark) => Some(*watermark),
            InputState::Idle | InputState::Ended => None,
        });
        active.min().unwrap_or(WATERMARK_END)
    }

    /// Whether every input that has not ended is idle, and there is one.
    pub fn is_idle(&self) -> bool {
        let mut waiting = self
            .inputs
            .iter()
            .filter(|input| **input != InputState::Ended)
            .peekable();
        waiting.peek().is_some() && waiting.all(|input| *input == InputState::Idle)
    }

    /// Whether every input has ended.
    pub fn is_ended(&self) -> bool {
        self.inputs.iter().all(|input| *input == InputState::Ended)
    }

    /// The minimum over active inputs; the end when all have ended; nothing while all that are
    /// left are idle.
    fn minimum(&self) -> Option<WatermarkUs> {
        let active = self.inputs.iter().filter_map(|input| match input {
            InputState::Active(watermark) => Some(*watermark),
            InputState::Idle | InputState::Ended => None,
        });
        match active.min() {
            Some(minimum) => Some(minimum),
            None if self.is_ended() => Some(WATERMARK_END),
            None => self.promised.iter().copied().max(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_active_input_decides() {
        let mut merge = WatermarkMerge::new(3);
        assert_eq!(merge.update(0, InputState::Active(5)), None);
        assert_eq!(merge.update(1, InputState::Active(9)), None);
        assert_eq!(merge.update(2, InputState::Active(7)), Some(5));
        assert_eq!(merge.update(0, InputState::Ended), Some(7));
    }

    #[test]
    fn a_watermark_never_goes_back() {
        let mut merge = WatermarkMerge::new(1);
        assert_eq!(merge.update(0, InputState::Active(5)), Some(5));
        assert_eq!(merge.update(0, InputState::Active(3)), None);
        assert_eq!(merge.merged(), 5);
    }

    #[test]
    fn when_all_inputs_have_ended_so_has_time() {
        let mut merge = WatermarkMerge::new(2);
        assert_eq!(merge.update(0, InputState::Ended), None);
        assert_eq!(merge.update(1, InputState::Ended), Some(WATERMARK_END));
        assert!(merge.is_ended());
    }

    #[test]
    fn an_input_that_wakes_up_behind_holds_back_without_going_back() {
        let mut merge = WatermarkMerge::new(2);
        merge.update(0, InputState::Idle);
        assert_eq!(merge.update(1, InputState::Active(20)), Some(20));
        assert_eq!(merge.update(0, InputState::Active(4)), None);
        assert_eq!(
            merge.update(1, InputState::Active(30)),
            None,
            "input 0 is active at 4"
        );
        assert_eq!(merge.merged(), 20);
    }
}
