//! Places: sqlparser's spans and error texts turned into the [`Position`]s of our errors.
//!
//! **Invariant.** Never invents a place: what sqlparser does not know stays unknown.

use sqlparser::ast::{Ident, Spanned};
use sqlparser::tokenizer::Span;

use crate::error::Position;

/// The place that `span` covers; `None` for a span that knows nothing. A span over several lines
/// is underlined at its first character.
pub fn span_position(span: Span) -> Option<Position> {
    if span.start.line == 0 {
        return None;
    }
    let length = if span.start.line == span.end.line {
        span.end.column.saturating_sub(span.start.column).max(1)
    } else {
        1
    };
    Some(Position {
        line: span.start.line,
        column: span.start.column,
        length,
    })
}

/// The place of a piece of the syntax tree; line 0 where it is not known.
pub fn position_of(node: &impl Spanned) -> Position {
    span_position(node.span()).unwrap_or_default()
}

/// The place of an identifier.
pub fn ident_position(ident: &Ident) -> Position {
    span_position(ident.span).unwrap_or_default()
}
