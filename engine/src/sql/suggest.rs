//! "Did you mean": the nearest of some names, for every error that names something unknown.
//!
//! **Invariant.** Deterministic: equal distances go to the candidate that stands first.

/// The candidate that is nearest to `name` by edit distance, where one is near enough to be meant.
///
/// Case does not count. Near enough is a third of the name's length, at least one edit.
pub fn nearest<I>(name: &str, candidates: I) -> Option<String>
where
    I: IntoIterator,
    I::Item: AsRef<str>,
{
    let wanted: Vec<char> = name.to_lowercase().chars().collect();
    let allowed = (wanted.len() / 3).max(1);
    let mut best: Option<(usize, String)> = None;
    for candidate in candidates {
        let candidate = candidate.as_ref();
        let letters: Vec<char> = candidate.to_lowercase().chars().collect();
        if letters.len().abs_diff(wanted.len()) > allowed {
            continue;
        }
        let distance = edit_distance(&wanted, &letters);
        if distance <= allowed && best.as_ref().is_none_or(|(least, _)| distance < *least) {
            best = Some((distance, candidate.to_string()));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// "did you mean `x`?" for the nearest candidate; otherwise the whole list, introduced by `list`.
pub fn hint<I>(name: &str, candidates: I, list: &str) -> String
where
    I: IntoIterator,
    I::Item: AsRef<str>,
{
    let candidates: Vec<String> = candidates
        .into_iter()
        .map(|candidate| candidate.as_ref().to_string())
        .collect();
    match nearest(name, &candidates) {
        Some(near) => format!("did you mean `{near}`?"),
        None if candidates.is_empty() => format!("{list} none"),
        None => format!("{list} {}", candidates.join(", ")),
    }
}

/// Edits (insert, delete, replace, swap neighbours) from one word to the other.
fn edit_distance(from: &[char], to: &[char]) -> usize {
    let mut before: Vec<usize> = vec![0; to.len() + 1];
    let mut above: Vec<usize> = (0..=to.len()).collect();
    for (row, &letter) in from.iter().enumerate() {
        let mut current = vec![row + 1; to.len() + 1];
        for (column, &other) in to.iter().enumerate() {
            let replace = above[column] + usize::from(letter != other);
            let mut least = replace.min(above[column + 1] + 1).min(current[column] + 1);
            let swapped = row > 0 && column > 0 && letter == to[column - 1] && from[row - 1] == other;
            if swapped {
                least = least.min(before[column - 1] + 1);
            }
            current[column + 1] = least;
        }
        before = above;
        above = current;
    }
    above[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_keyboard_finds_its_name() {
        let names = ["connector", "path", "format"];
        assert_eq!(nearest("conector", names), Some("connector".to_string()));
        assert_eq!(nearest("pahT", names), Some("path".to_string()));
        assert_eq!(nearest("", names), None);
    }

    #[test]
    fn a_different_word_finds_nothing_and_the_hint_lists_all() {
        let names = ["connector", "path"];
        assert_eq!(nearest("topic", names), None);
        assert_eq!(hint("topic", names, "known are"), "known are connector, path");
        assert_eq!(hint("pth", names, "known are"), "did you mean `path`?");
    }
}
