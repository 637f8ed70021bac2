//! The value of a URL's parameter, cut out without a regular-expression engine.
//!
//! `REGEXP_EXTRACT(url, '(&|^)channel_id=([^&]*)', 2)` is how every clickstream query reads a
//! parameter. A pattern of exactly that form — a separator or the start, fixed text, then all up to
//! the separator — is found by a substring search.
//!
//! **Invariant.** Answers what the regular expression answers; a test compares the two.

use memchr::memmem::Finder;

/// A recognised pattern.
#[derive(Debug)]
pub(crate) struct QueryParameter {
    separator: u8,
    name: Finder<'static>,
}

impl QueryParameter {
    /// The recogniser of `(S|^)name([^S]*)` (or with `^` first), for group 2.
    pub(crate) fn of(pattern: &str, group: usize) -> Option<QueryParameter> {
        let rest = pattern.strip_prefix('(')?;
        let (choice, rest) = rest.split_once(')')?;
        let separator = match choice.as_bytes() {
            [separator, b'|', b'^'] | [b'^', b'|', separator] => *separator,
            _ => return None,
        };
        let name = rest.strip_suffix("]*)")?;
        let name = name.strip_suffix(char::from(separator))?.strip_suffix("([^")?;
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-=/&;,:%!~@#".contains(&byte);
        let plain = is_plain(separator) && !name.is_empty() && name.bytes().all(is_plain);
        (plain && group == 2).then(|| QueryParameter {
            separator,
            name: Finder::new(name).into_owned(),
        })
    }

    /// The value in `text`; `None` where the parameter is missing.
    pub(crate) fn find<'t>(&self, text: &'t str) -> Option<&'t str> {
        let bytes = text.as_bytes();
        let mut from = 0;
        while let Some(found) = self.name.find(&bytes[from..]) {
            let start = from + found;
            if start == 0 || bytes[start - 1] == self.separator {
                let value = start + self.name.needle().len();
                let end = memchr::memchr(self.separator, &bytes[value..])
                    .map_or(bytes.len(), |length| value + length);
                return Some(&text[value..end]);
            }
            from = start + 1;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use regex::Regex;

    #[test]
    fn only_the_exact_form_is_recognised() {
        assert!(QueryParameter::of("(&|^)channel_id=([^&]*)", 2).is_some());
        assert!(QueryParameter::of("(^|&)channel_id=([^&]*)", 2).is_some());
        for other in [
            "(&|^)channel_id=([^&]+)",
            "(&|^)channel.id=([^&]*)",
            "(&|^)a=([^;]*)",
            "(&)a=([^&]*)",
            "(&|^)([^&]*)",
        ] {
            assert!(QueryParameter::of(other, 2).is_none(), "{other}");
        }
        assert!(QueryParameter::of("(&|^)channel_id=([^&]*)", 1).is_none());
    }

    #[test]
    fn answers_are_those_of_the_regular_expression() {
        let patterns = [
            "(&|^)a=([^&]*)",
            "(^|&)aa=([^&]*)",
            "(/|^)a/([^/]*)",
            "(&|^)a=b=([^&]*)",
        ];
        let alphabet = ["a", "=", "&", "b", "/", "é"];
        for pattern in patterns {
            let regex = Regex::new(pattern).unwrap();
            let parameter = QueryParameter::of(pattern, 2).unwrap();
            let mut texts = vec![String::new()];
            for _ in 0..6 {
                let longer = texts
                    .iter()
                    .flat_map(|text| alphabet.iter().map(move |letter| format!("{text}{letter}")));
                texts = longer.collect();
                for text in &texts {
                    let expected = regex
                        .captures(text)
                        .and_then(|captures| captures.get(2))
                        .map(|part| part.as_str());
                    assert_eq!(parameter.find(text), expected, "{pattern} in {text}");
                }
            }
        }
    }
}
