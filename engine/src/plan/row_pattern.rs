//! Patterns of rows, as PATTERN of MATCH_RECOGNIZE writes them; part of the plan's vocabulary, see `plan`.
//!
//! **Invariant.** What is repeated without a bound takes at least one row, so that every repetition ends.

use std::fmt;

/// A pattern of rows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RowPattern {
    /// One row for this variable, by its number.
    Row(usize),
    /// One behind the other.
    Concatenation(Vec<RowPattern>),
    /// One of these, the first that leads to a match.
    Alternation(Vec<RowPattern>),
    /// Several times.
    Repetition {
        /// What is repeated.
        inner: Box<RowPattern>,
        /// How often at least.
        least: u32,
        /// How often at most; `None` = without a bound.
        most: Option<u32>,
        /// Whether more are preferred to fewer.
        greedy: bool,
    },
}

impl RowPattern {
    /// The fewest rows that it takes.
    pub fn rows_min(&self) -> u64 {
        match self {
            RowPattern::Row(_) => 1,
            RowPattern::Concatenation(parts) => parts
                .iter()
                .map(RowPattern::rows_min)
                .fold(0, u64::saturating_add),
            RowPattern::Alternation(parts) => parts.iter().map(RowPattern::rows_min).min().unwrap_or(0),
            RowPattern::Repetition { inner, least, .. } => inner.rows_min().saturating_mul(u64::from(*least)),
        }
    }

    /// The most rows that it takes; `None` = without a bound.
    pub fn rows_max(&self) -> Option<u64> {
        match self {
            RowPattern::Row(_) => Some(1),
            RowPattern::Concatenation(parts) => {
                let mut each = parts.iter().map(RowPattern::rows_max);
                each.try_fold(0, |sum: u64, rows| Some(sum.saturating_add(rows?)))
            }
            RowPattern::Alternation(parts) => {
                let mut each = parts.iter().map(RowPattern::rows_max);
                each.try_fold(0, |most: u64, rows| Some(most.max(rows?)))
            }
            RowPattern::Repetition { inner, most, .. } => {
                Some(inner.rows_max()?.saturating_mul(u64::from((*most)?)))
            }
        }
    }

    /// The steps of its program, roughly: repetitions with a bound are written out.
    pub fn steps(&self) -> u64 {
        match self {
            RowPattern::Row(_) => 1,
            RowPattern::Concatenation(parts) | RowPattern::Alternation(parts) => parts
                .iter()
                .map(|part| part.steps().saturating_add(2))
                .fold(0, u64::saturating_add),
            RowPattern::Repetition {
                inner, least, most, ..
            } => {
                let copies = most.unwrap_or(least.saturating_add(1)).max(1);
                inner.steps().saturating_add(1).saturating_mul(u64::from(copies))
            }
        }
    }

    /// A repetition at its end that takes as many rows as come: whether a match is over is only known once a
    /// row does not fit.
    pub fn greedy_end(&self) -> Option<&RowPattern> {
        match self {
            RowPattern::Row(_) => None,
            RowPattern::Concatenation(parts) => {
                let mut end = parts.iter().rev();
                let mut found = None;
                for part in end.by_ref() {
                    found = found.or(part.greedy_end());
                    if part.rows_min() > 0 {
                        break;
                    }
                }
                found
            }
            RowPattern::Alternation(parts) => parts.iter().find_map(RowPattern::greedy_end),
            RowPattern::Repetition {
                inner,
                least,
                most,
                greedy,
            } => {
                let is_optional = (*least, *most) == (0, Some(1));
                match *greedy && !is_optional && *most != Some(*least) {
                    true => Some(self),
                    false => inner.greedy_end(),
                }
            }
        }
    }

    /// A repetition without a bound of something that may take no row.
    pub fn endless(&self) -> Option<&RowPattern> {
        match self {
            RowPattern::Row(_) => None,
            RowPattern::Concatenation(parts) | RowPattern::Alternation(parts) => {
                parts.iter().find_map(RowPattern::endless)
            }
            RowPattern::Repetition {
                inner, most: None, ..
            } if inner.rows_min() == 0 => Some(self),
            RowPattern::Repetition { inner, .. } => inner.endless(),
        }
    }

    /// Whether every match begins with a row for `variable`.
    pub fn begins_with(&self, variable: usize) -> bool {
        match self {
            RowPattern::Row(found) => *found == variable,
            RowPattern::Concatenation(parts) => {
                for part in parts {
                    if part.rows_min() > 0 || !part.begins_with(variable) {
                        return part.begins_with(variable);
                    }
                }
                false
            }
            RowPattern::Alternation(parts) => parts.iter().all(|part| part.begins_with(variable)),
            RowPattern::Repetition { inner, .. } => inner.begins_with(variable),
        }
    }

    /// The pattern with the names of its variables.
    pub fn display<'a>(&'a self, variables: &'a [String]) -> impl fmt::Display + 'a {
        Named {
            pattern: self,
            variables,
        }
    }
}

struct Named<'a> {
    pattern: &'a RowPattern,
    variables: &'a [String],
}

impl Named<'_> {
    fn part<'b>(&'b self, pattern: &'b RowPattern) -> Named<'b> {
        Named {
            pattern,
            variables: self.variables,
        }
    }

    fn parts(&self, f: &mut fmt::Formatter<'_>, parts: &[RowPattern], between: &str) -> fmt::Result {
        for (number, part) in parts.iter().enumerate() {
            let before = if number == 0 { "" } else { between };
            match part {
                RowPattern::Alternation(_) => write!(f, "{before}({})", self.part(part))?,
                part => write!(f, "{before}{}", self.part(part))?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pattern {
            RowPattern::Row(variable) => write!(f, "{}", self.variables[*variable]),
            RowPattern::Concatenation(parts) => self.parts(f, parts, " "),
            RowPattern::Alternation(parts) => self.parts(f, parts, " | "),
            RowPattern::Repetition {
                inner,
                least,
                most,
                greedy,
            } => {
                match inner.as_ref() {
                    RowPattern::Row(_) => write!(f, "{}", self.part(inner))?,
                    inner => write!(f, "({})", self.part(inner))?,
                }
                match (least, most) {
                    (0, None) => write!(f, "*")?,
                    (1, None) => write!(f, "+")?,
                    (0, Some(1)) => write!(f, "?")?,
                    (least, None) => write!(f, "{{{least},}}")?,
                    (0, Some(most)) => write!(f, "{{,{most}}}")?,
                    (least, Some(most)) if least == most => write!(f, "{{{least}}}")?,
                    (least, Some(most)) => write!(f, "{{{least},{most}}}")?,
                }
                let is_fixed = *most == Some(*least);
                write!(f, "{}", if *greedy || is_fixed { "" } else { "?" })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repeated(inner: RowPattern, least: u32, most: Option<u32>, greedy: bool) -> RowPattern {
        RowPattern::Repetition {
            inner: Box::new(inner),
            least,
            most,
            greedy,
        }
    }

    #[test]
    fn a_pattern_knows_how_many_rows_it_takes_and_how_it_ends() {
        let [a, b, c] = [0, 1, 2].map(RowPattern::Row);
        let names = ["A", "B", "C"].map(String::from);
        let check = |pattern: &RowPattern, text: &str, rows: (u64, Option<u64>), greedy_end: bool| {
            assert_eq!(pattern.display(&names).to_string(), text);
            assert_eq!((pattern.rows_min(), pattern.rows_max()), rows, "{text}");
            assert_eq!(pattern.greedy_end().is_some(), greedy_end, "{text}");
        };
        let some =
            RowPattern::Concatenation(vec![a.clone(), repeated(b.clone(), 2, Some(3), false), c.clone()]);
        check(&some, "A B{2,3}? C", (4, Some(5)), false);
        let open = RowPattern::Concatenation(vec![
            repeated(a.clone(), 1, None, true),
            repeated(b.clone(), 0, Some(1), true),
        ]);
        check(&open, "A+ B?", (1, None), true);
        let either = repeated(RowPattern::Alternation(vec![some, c.clone()]), 2, Some(2), true);
        check(&either, "(A B{2,3}? C | C){2}", (2, Some(10)), false);
        assert!(!either.begins_with(0));
        let both = RowPattern::Alternation(vec![open, a.clone()]);
        assert!(both.begins_with(0) && both.endless().is_none());
        assert!(
            repeated(repeated(a, 0, None, true), 0, None, true)
                .endless()
                .is_some()
        );
    }
}
