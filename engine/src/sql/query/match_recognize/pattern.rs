//! PATTERN, AFTER MATCH SKIP and the names of variables: sqlparser's → the plan's, and what Flink refuses of them.

use sqlparser::ast::{
    AfterMatchSkip, Ident, MatchRecognizePattern, MatchRecognizeSymbol, RepetitionQuantifier,
};

use crate::error::{Position, SqlError};
use crate::limits::{MATCH_STEPS_MAX, MATCH_VARIABLES_MAX};
use crate::plan::match_spec::MatchSkip;
use crate::plan::row_pattern::RowPattern;
use crate::sql::position::ident_position;
use crate::sql::suggest;

/// A pattern and the variables in it, in the order in which they first stand there.
#[derive(Debug)]
pub(super) struct Pattern {
    pub variables: Vec<String>,
    pub pattern: RowPattern,
}

impl Pattern {
    /// The number of a variable; an error that names `place` where it stands if the pattern has none of that name.
    pub fn variable(&self, ident: &Ident, clause: &str) -> Result<usize, SqlError> {
        let found = self.variables.iter().position(|name| *name == ident.value);
        found.ok_or_else(|| {
            SqlError::new(format!(
                "{clause} names `{}`, which PATTERN does not have",
                ident.value
            ))
            .hint(suggest::hint(&ident.value, &self.variables, "pattern variables:"))
            .at(ident_position(ident))
        })
    }
}

/// Reads a pattern; `at` is where the clause stands.
pub(super) fn read(syntax: &MatchRecognizePattern, at: Position) -> Result<Pattern, SqlError> {
    let place = first_name(syntax).map_or(at, ident_position);
    let mut variables = Vec::new();
    let pattern = pattern_of(syntax, &mut variables).map_err(|error| match error.position {
        Some(_) => error,
        None => error.at(place),
    })?;
    let read = Pattern { variables, pattern };
    check(&read).map_err(|error| error.at(place))?;
    Ok(read)
}

/// The first name in a pattern: patterns have no place of their own.
fn first_name(syntax: &MatchRecognizePattern) -> Option<&Ident> {
    match syntax {
        MatchRecognizePattern::Symbol(symbol) | MatchRecognizePattern::Exclude(symbol) => named(symbol),
        MatchRecognizePattern::Permute(symbols) => symbols.iter().find_map(named),
        MatchRecognizePattern::Concat(parts) | MatchRecognizePattern::Alternation(parts) => {
            parts.iter().find_map(first_name)
        }
        MatchRecognizePattern::Group(inner) | MatchRecognizePattern::Repetition(inner, _) => {
            first_name(inner)
        }
    }
}

fn named(symbol: &MatchRecognizeSymbol) -> Option<&Ident> {
    match symbol {
        MatchRecognizeSymbol::Named(ident) => Some(ident),
        MatchRecognizeSymbol::Start | MatchRecognizeSymbol::End => None,
    }
}

fn pattern_of(syntax: &MatchRecognizePattern, variables: &mut Vec<String>) -> Result<RowPattern, SqlError> {
    let mut all = |parts: &[MatchRecognizePattern]| {
        let parts = parts.iter().map(|part| pattern_of(part, variables));
        parts.collect::<Result<Vec<_>, _>>()
    };
    match syntax {
        MatchRecognizePattern::Symbol(MatchRecognizeSymbol::Named(ident)) => {
            let known = variables.iter().position(|name| *name == ident.value);
            Ok(RowPattern::Row(known.unwrap_or_else(|| {
                variables.push(ident.value.clone());
                variables.len() - 1
            })))
        }
        MatchRecognizePattern::Concat(parts) => Ok(RowPattern::Concatenation(all(parts)?)),
        MatchRecognizePattern::Alternation(parts) => Ok(RowPattern::Alternation(all(parts)?)),
        MatchRecognizePattern::Group(inner) => pattern_of(inner, variables),
        MatchRecognizePattern::Repetition(inner, quantifier) => repetition(inner, quantifier, variables),
        MatchRecognizePattern::Symbol(_) => {
            Err(SqlError::new("the anchors ^ and $ of PATTERN are not supported")
                .hint("a stream has no first and no last row"))
        }
        MatchRecognizePattern::Exclude(_) => {
            Err(SqlError::new("an exclusion {- … -} in PATTERN is not supported")
                .hint("it is for ALL ROWS PER MATCH; write the variable alone, and leave it out of MEASURES"))
        }
        MatchRecognizePattern::Permute(_) => Err(SqlError::new("PERMUTE in PATTERN is not supported")
            .hint("write the orders as alternatives: (A B | B A)")),
    }
}

/// `A*`; a `?` behind another quantifier makes that reluctant.
fn repetition(
    inner: &MatchRecognizePattern,
    quantifier: &RepetitionQuantifier,
    variables: &mut Vec<String>,
) -> Result<RowPattern, SqlError> {
    let (repeated, quantifier, greedy) = match (inner, quantifier) {
        (MatchRecognizePattern::Repetition(repeated, first), RepetitionQuantifier::AtMostOne) => {
            (repeated.as_ref(), first, false)
        }
        _ => (inner, quantifier, true),
    };
    if let MatchRecognizePattern::Repetition(..) = repeated {
        return Err(SqlError::new("a quantifier stands behind another one in PATTERN")
            .hint("write the repeated part in parentheses: (A+){2}"));
    }
    let (least, most) = match *quantifier {
        RepetitionQuantifier::ZeroOrMore => (0, None),
        RepetitionQuantifier::OneOrMore => (1, None),
        RepetitionQuantifier::AtMostOne => (0, Some(1)),
        RepetitionQuantifier::Exactly(count) => (count, Some(count)),
        RepetitionQuantifier::AtLeast(least) => (least, None),
        RepetitionQuantifier::AtMost(most) => (0, Some(most)),
        RepetitionQuantifier::Range(least, most) => (least, Some(most)),
    };
    if most.is_some_and(|most| most == 0 || most < least) {
        return Err(
            SqlError::new("a quantifier of PATTERN has no number of rows that it allows")
                .hint("write {n} with n > 0, or {n,m} with n ≤ m"),
        );
    }
    Ok(RowPattern::Repetition {
        inner: Box::new(pattern_of(repeated, variables)?),
        least,
        most,
        greedy,
    })
}

fn check(read: &Pattern) -> Result<(), SqlError> {
    let Pattern { variables, pattern } = read;
    let named = |part: &RowPattern| part.display(variables).to_string();
    if variables.len() > MATCH_VARIABLES_MAX {
        return Err(SqlError::new(format!(
            "PATTERN has more than {MATCH_VARIABLES_MAX} variables"
        )));
    }
    if pattern.steps() > MATCH_STEPS_MAX {
        return Err(SqlError::new(format!(
            "PATTERN is too long: written out it has more than {MATCH_STEPS_MAX} steps"
        ))
        .hint("use smaller numbers in its quantifiers, or + and *"));
    }
    if let Some(endless) = pattern.endless() {
        return Err(SqlError::new(format!(
            "`{}` repeats without a bound what may take no row",
            named(endless)
        ))
        .hint("let what is repeated take a row at least: (A B?)*"));
    }
    if pattern.rows_min() == 0 {
        return Err(SqlError::new("this PATTERN may match no row at all")
            .hint("let at least one variable be required: (A B*), or A+ instead of A*"));
    }
    if let Some(end) = pattern.greedy_end() {
        return Err(SqlError::new(format!(
            "PATTERN ends with `{}`, which takes as many rows as come: its match is over only when a row does not fit",
            named(end)
        ))
        .hint("end with a variable that is NOT the condition, or make it reluctant with ? behind the quantifier"));
    }
    Ok(())
}

/// Where the next match begins; Flink's default is the next row.
pub(super) fn skip(syntax: Option<&AfterMatchSkip>, pattern: &Pattern) -> Result<MatchSkip, SqlError> {
    let clause = "AFTER MATCH SKIP";
    match syntax {
        Some(AfterMatchSkip::PastLastRow) => Ok(MatchSkip::PastLastRow),
        None | Some(AfterMatchSkip::ToNextRow) => Ok(MatchSkip::ToNextRow),
        Some(AfterMatchSkip::ToFirst(ident)) => {
            let variable = pattern.variable(ident, clause)?;
            if pattern.pattern.begins_with(variable) {
                return Err(SqlError::new(format!(
                    "AFTER MATCH SKIP TO FIRST {}: each match begins with that row, and would be found again for ever",
                    ident.value
                ))
                .at(ident_position(ident))
                .hint("use AFTER MATCH SKIP TO NEXT ROW, or skip to a variable behind the first"));
            }
            Ok(MatchSkip::ToFirst(variable))
        }
        Some(AfterMatchSkip::ToLast(ident)) => Ok(MatchSkip::ToLast(pattern.variable(ident, clause)?)),
    }
}
