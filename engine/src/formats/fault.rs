//! Why a record cannot be decoded: found as a code and a place, told as a sentence only then.

use arrow::datatypes::Schema;

use super::type_name::sql_type_name;

/// Characters of a value that a message shows.
const EXCERPT_CHARACTERS_MAX: usize = 40;

/// What is wrong with a record or a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FaultKind {
    /// The record is longer than is accepted.
    TooLong,
    /// The record holds bytes that are not UTF-8.
    NotUtf8,
    /// The line is not `{…}`.
    ObjectExpected,
    /// Inside an object there is no `"name"` where one must be.
    KeyExpected,
    /// There is no `:` behind a name.
    ColonExpected,
    /// There is no value where one must be.
    ValueExpected,
    /// There is neither `,` nor an end behind a value.
    CommaExpected,
    /// The record ends inside a string.
    StringUnended,
    /// `\` is followed by something else than an escape.
    BadEscape,
    /// A number that JSON does not know.
    BadNumber,
    /// Text behind the object.
    TextBehind,
    /// More levels of `{` and `[` than are accepted.
    TooDeep,
    /// A quoted field goes on behind its closing quote.
    QuoteWithin,
    /// More or fewer fields than the header has, or than are declared.
    FieldCount {
        /// How many there should be.
        expected: u32,
    },
    /// The value is not of the column's type.
    WrongType,
    /// The value is beyond the column's type.
    OutOfRange,
    /// The column takes whole numbers.
    NotWhole,
    /// The text is not base64.
    NotBase64,
    /// NULL in a NOT NULL column.
    Null,
    /// The field is absent and must not be.
    Missing,
}

/// What is wrong, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) kind: FaultKind,
    /// Offset in the record.
    pub(super) at: usize,
    /// The column concerned.
    pub(super) column: Option<u32>,
}

impl Fault {
    /// A fault at offset `at`; boxed, so that results stay two words.
    pub(super) fn at(kind: FaultKind, at: usize) -> Box<Fault> {
        Box::new(Fault {
            kind,
            at,
            column: None,
        })
    }

    /// The same fault, of column `column`.
    pub(super) fn of_column(mut self: Box<Fault>, column: usize) -> Box<Fault> {
        self.column = Some(column as u32);
        self
    }

    /// The sentence; `value` is the offending value's text.
    pub(super) fn describe(&self, schema: &Schema, value: &[u8], bytes_max: usize) -> String {
        let value = excerpt(value);
        let place = format!("byte {}", self.at + 1);
        let (name, type_name) = match self.column {
            Some(column) => {
                let field = schema.field(column as usize);
                (field.name().as_str(), sql_type_name(field.data_type()))
            }
            None => ("", String::new()),
        };
        match self.kind {
            FaultKind::TooLong => format!(
                "the record is longer than {bytes_max} bytes, the most that is accepted; does it lack its line break?"
            ),
            FaultKind::NotUtf8 => format!("{place} is not UTF-8"),
            FaultKind::ObjectExpected => format!("not a JSON object: '{{' is expected, found `{value}`"),
            FaultKind::KeyExpected => {
                format!("malformed JSON at {place}: a name in quotes is expected, found `{value}`")
            }
            FaultKind::ColonExpected => {
                format!("malformed JSON at {place}: ':' is expected, found `{value}`")
            }
            FaultKind::ValueExpected => {
                format!("malformed JSON at {place}: a value is expected, found `{value}`")
            }
            FaultKind::CommaExpected => {
                format!("malformed JSON at {place}: ',' or an end is expected, found `{value}`")
            }
            FaultKind::StringUnended => "the record ends inside quotes".to_string(),
            FaultKind::BadEscape => format!("malformed JSON at {place}: `{value}` is not an escape"),
            FaultKind::BadNumber => format!("malformed JSON at {place}: `{value}` is not a number"),
            FaultKind::TextBehind => {
                format!("malformed JSON at {place}: nothing may follow the object, found `{value}`")
            }
            FaultKind::TooDeep => format!("malformed JSON at {place}: nested too deeply"),
            FaultKind::QuoteWithin => format!("{place}: text behind the closing quote of a field: `{value}`"),
            FaultKind::FieldCount { expected } => {
                format!("the record has {} fields instead of {expected}", self.at)
            }
            FaultKind::WrongType => format!("column '{name}' is {type_name}, but the value is {value}"),
            FaultKind::OutOfRange => format!("column '{name}': {value} is out of the range of {type_name}"),
            FaultKind::NotWhole => {
                format!("column '{name}': {value} is not a whole number, but the type is {type_name}")
            }
            FaultKind::NotBase64 => format!("column '{name}' is {type_name}, but {value} is not base64"),
            FaultKind::Null => format!("column '{name}' is NOT NULL, but the value is NULL"),
            FaultKind::Missing => format!("column '{name}' is missing"),
        }
    }
}

/// The beginning of a value, as a message shows it.
fn excerpt(value: &[u8]) -> String {
    let head = &value[..value.len().min(EXCERPT_CHARACTERS_MAX * 4)];
    let text = String::from_utf8_lossy(head);
    let mut shown: String = text.chars().take(EXCERPT_CHARACTERS_MAX).collect();
    if shown.len() < value.len() {
        shown.push('…');
    }
    if shown.is_empty() {
        shown.push_str("nothing");
    }
    shown
}
