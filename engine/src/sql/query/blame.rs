//! Which words of a statement an error of DataFusion's planner is about, where it tells no place.
//!
//! **Invariant.** Only words that the statement has are blamed; what nothing is known of stays without a place.

use crate::error::Position;
use crate::sql::places::Places;

/// What messages say, and the words that are meant.
const CONSTRUCTS: [(&str, &[&str]); 19] = [
    ("LATERAL", &["LATERAL"]),
    ("QUALIFY clause", &["QUALIFY"]),
    ("rows of VALUES", &["VALUES"]),
    ("SUBSTRING", &["SUBSTRING", "SUBSTR"]),
    ("join condition must", &["ON"]),
    ("join condition should", &["JOIN"]),
    ("ILIKE expression", &["ILIKE"]),
    ("LIKE expression", &["NOT LIKE", "LIKE"]),
    ("SIMILAR TO expression", &["SIMILAR TO"]),
    ("BETWEEN expression", &["NOT BETWEEN", "BETWEEN"]),
    ("to compare", &["NOT IN", "IN"]),
    ("CASE", &["CASE"]),
    ("array_element", &["["]),
    ("sides of", &["UNION", "INTERSECT", "EXCEPT"]),
    ("Union", &["UNION", "INTERSECT", "EXCEPT"]),
    ("WHERE clause", &["WHERE"]),
    ("SELECT clause", &["GROUP BY", "ORDER BY"]),
    ("correlated", &["EXISTS", "IN"]),
    ("ub-query", &["EXISTS", "IN"]),
];

/// The place of what `message` is about.
pub(crate) fn place(message: &str, places: &Places) -> Option<Position> {
    // What stands in backticks or quotes is a name, often in front of its table's.
    let quoted = message.split(['`', '\'', '"']).skip(1).step_by(2);
    let names = quoted.filter_map(|name| name.rsplit('.').next());
    let mut constructs = CONSTRUCTS.iter().filter(|(said, _)| message.contains(said));
    let named = names
        .filter(|name| !name.is_empty())
        .find_map(|name| places.find(name).or_else(|| places.find(&format!("'{name}'"))));
    named.or_else(|| constructs.find_map(|(_, words)| places.find_any(words)))
}
