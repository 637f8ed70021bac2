//! Edits of a text by the places of its tokens.
//!
//! **Invariant.** Edits do not overlap; what none of them covers is copied as it is.

use sqlparser::tokenizer::Location;

use crate::error::Position;

/// A text and what is to become of it.
pub(super) struct Edits<'a> {
    text: &'a str,
    /// Where each line starts.
    lines: Vec<usize>,
    edits: Vec<(usize, usize, String)>,
}

impl<'a> Edits<'a> {
    pub fn new(text: &'a str) -> Edits<'a> {
        let breaks = text.match_indices('\n').map(|(at, _)| at + 1);
        Edits {
            text,
            lines: [0].into_iter().chain(breaks).collect(),
            edits: Vec::new(),
        }
    }

    /// Replaces what stands from `start` up to `end`.
    pub fn replace(&mut self, start: Location, end: Location, text: &str) {
        let (start, end) = (self.offset(start), self.offset(end));
        // Two reasons to edit one place, a duration inside of a clause that moves, are one edit: the outer one.
        self.edits.retain(|&(from, to, _)| {
            let at_edge = from == to && (from == start || from == end);
            from < start || to > end || at_edge
        });
        if !self.edits.iter().any(|edit| start < edit.1 && edit.0 < end) {
            self.edits.push((start, end, text.to_string()));
        }
    }

    /// Puts `text` in front of what stands at `at`.
    pub fn insert(&mut self, at: Location, text: &str) {
        let at = self.offset(at);
        self.edits.push((at, at, text.to_string()));
    }

    /// Replaces what stands at a position.
    pub fn replace_position(&mut self, position: Position, text: &str) {
        let (start, end) = ends(position);
        self.replace(start, end, text);
    }

    /// The text, edited.
    pub fn apply(mut self) -> String {
        self.edits.sort_by_key(|edit| (edit.0, edit.1));
        let (mut output, mut at) = (String::new(), 0);
        for (start, end, text) in &self.edits {
            output.push_str(&self.text[at..*start]);
            output.push_str(text);
            at = *end;
        }
        output.push_str(&self.text[at..]);
        output
    }

    fn offset(&self, at: Location) -> usize {
        let line = (at.line.max(1) as usize - 1).min(self.lines.len() - 1);
        let start = self.lines[line];
        let column = at.column.max(1) as usize - 1;
        let mut letters = self.text[start..].char_indices();
        letters
            .nth(column)
            .map_or(self.text.len(), |(offset, _)| start + offset)
    }
}

/// Where a position on one line starts and ends.
pub(super) fn ends(position: Position) -> (Location, Location) {
    let start = Location::new(position.line, position.column);
    (
        start,
        Location::new(position.line, position.column + position.length),
    )
}
