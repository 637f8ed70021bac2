//! What can go wrong, told so that its reader knows what, where, and what to do.
//!
//! Three kinds, never mixed: a [`SqlError`] is the user's text and points into it; an
//! [`ExecutionError`] is met while rows flow and names the operator; a broken invariant is a panic.

use std::fmt;

use thiserror::Error;

/// A place in the SQL text: 1-based line and column (in characters) of its first character, and
/// its length in characters on that line (at least 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Position {
    /// 1-based line; 0 when the place is not known.
    pub line: u64,
    /// 1-based column in characters.
    pub column: u64,
    /// Characters to underline.
    pub length: u64,
}

/// An error in the user's SQL: message, place, and a hint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlError {
    /// What is wrong, one sentence without a full stop.
    pub message: String,
    /// Where; `None` only where no token can be blamed.
    pub position: Option<Position>,
    /// What to do instead: the nearest name, the alternative statement.
    pub hint: Option<String>,
}

impl SqlError {
    /// An error without a place (yet).
    pub fn new(message: impl Into<String>) -> SqlError {
        SqlError {
            message: message.into(),
            position: None,
            hint: None,
        }
    }

    /// The same error at `position`, unless it already has one.
    #[must_use]
    pub fn at(mut self, position: Position) -> SqlError {
        self.position.get_or_insert(position);
        self
    }

    /// The same error with advice.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> SqlError {
        self.hint = Some(hint.into());
        self
    }

    /// The error as a terminal shows it: message, `file:line:column`, the line, a caret, the hint.
    pub fn render(&self, file: &str, sql: &str) -> String {
        let mut text = format!("error: {}", self.message);
        if let Some(position) = self.position.filter(|position| position.line > 0) {
            let line = sql.lines().nth(position.line as usize - 1).unwrap_or("");
            let number = position.line.to_string();
            let margin = " ".repeat(number.len());
            let (line, column) = excerpt(line, position.column.saturating_sub(1) as usize);
            let indent: String = line
                .chars()
                .take(column)
                .map(|c| if c == '\t' { '\t' } else { ' ' })
                .collect();
            let shown = line.chars().count().saturating_sub(column);
            let carets = "^".repeat((position.length as usize).min(shown).max(1));
            text += &format!("\n{margin}--> {file}:{}:{}", position.line, position.column);
            text += &format!("\n{margin} |\n{number} | {line}\n{margin} | {indent}{carets}");
        }
        if let Some(hint) = &self.hint {
            text += &format!("\nhint: {hint}");
        }
        text
    }
}

/// `line` where it is short, else its part around character `column`; and where that character is in it.
fn excerpt(line: &str, column: usize) -> (String, usize) {
    const LINE_MAX: usize = 160;
    const BEFORE: usize = 60;
    if line.chars().count() <= LINE_MAX {
        return (line.to_string(), column);
    }
    let start = column.saturating_sub(BEFORE);
    let mut part: String = line.chars().skip(start).take(LINE_MAX).collect();
    if line.chars().count() > start + LINE_MAX {
        part.push('…');
    }
    match start {
        0 => (part, column),
        _ => (format!("…{part}"), column - start + 1),
    }
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message)?;
        if let Some(position) = self.position {
            write!(f, " (line {}, column {})", position.line, position.column)?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "; {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for SqlError {}

/// An error met while rows flow: the job stops with it.
#[derive(Debug, Error)]
#[error("{operator}: {message}")]
pub struct ExecutionError {
    /// The operator that met it, as EXPLAIN names it.
    pub operator: String,
    /// What happened, and what to do.
    pub message: String,
}

impl ExecutionError {
    /// An error of `operator`.
    pub fn new(operator: impl Into<String>, message: impl fmt::Display) -> ExecutionError {
        ExecutionError {
            operator: operator.into(),
            message: message.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_line_the_part_around_the_place_is_shown() {
        let sql = format!("SELECT {} FROM t", "column, ".repeat(100));
        let error = SqlError::new("no such column").at(Position {
            line: 1,
            column: 408,
            length: 6,
        });
        let rendered = error.render("job.sql", &sql);
        let lines: Vec<&str> = rendered.lines().collect();
        assert_eq!(lines[1], " --> job.sql:1:408");
        assert!(
            lines[3].starts_with("1 | …") && lines[3].ends_with('…'),
            "{rendered}"
        );
        assert!(lines[3].chars().count() < 180, "{rendered}");
        let caret = lines[4].chars().position(|letter| letter == '^').unwrap();
        let pointed: String = lines[3].chars().skip(caret).take(6).collect();
        assert_eq!(
            (pointed.as_str(), lines[4].trim_start_matches([' ', '|'])),
            ("column", "^^^^^^")
        );
    }
}
