//! Where the reading of a file stands, as a snapshot keeps it, and how what is left is dealt out anew.
//!
//! A file that is read in pieces (blocks, row groups) is left with a list of pieces, each from an offset on; all
//! parts' lists together are what nobody has read. A stream stands at one place.
//!
//! **Invariant.** Over all parts every record is left exactly once: also where shards are more or fewer than
//! before.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use shards::connector::SplitPosition;

use super::stream::StreamPlace;

/// A piece of a file that is not read, or not to its end: its number, and where to go on in it. In a block that
/// is the offset in the file of the next record, in a row group the number of rows handed out; 0 = its
/// beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Piece {
    pub number: u64,
    pub from: u64,
}

/// Pieces `first, first + stride, …`, so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Run {
    first: u64,
    stride: u64,
    count: u64,
    /// Where to go on in the first of them.
    from: u64,
}

/// A position as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilePosition {
    /// The bytes of the file that the job knew.
    pub bytes: u64,
    /// The file's header, where it has one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub header: String,
    /// What is left.
    pub left: Left,
}

/// What is left of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Left {
    /// Pieces.
    Pieces(Pieces),
    /// Everything from a place on; `None` = nothing.
    Stream(Option<(u64, u64)>),
}

/// Pieces, written as runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pieces {
    /// Bytes of a block, or 0 where pieces are row groups.
    pub piece_bytes: u64,
    /// What the filter is that rows of a row group were counted behind.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub filter: String,
    runs: Vec<Run>,
}

impl Pieces {
    /// These pieces, which rise.
    pub fn new(piece_bytes: u64, filter: String, left: &VecDeque<Piece>) -> Pieces {
        let mut runs: Vec<Run> = Vec::new();
        for piece in left {
            if let Some(run) = runs.last_mut().filter(|_| piece.from == 0) {
                if run.count == 1 {
                    run.stride = piece.number - run.first;
                }
                if run.first + run.stride * run.count == piece.number {
                    run.count += 1;
                    continue;
                }
            }
            runs.push(Run {
                first: piece.number,
                stride: 1,
                count: 1,
                from: piece.from,
            });
        }
        Pieces {
            piece_bytes,
            filter,
            runs,
        }
    }

    /// The pieces, one by one.
    pub fn list(&self) -> impl Iterator<Item = Piece> + '_ {
        self.runs.iter().flat_map(|run| {
            (0..run.count).map(|number| Piece {
                number: run.first + number * run.stride,
                from: if number == 0 { run.from } else { 0 },
            })
        })
    }
}

impl FilePosition {
    /// As the position of split `split`.
    pub fn write(&self, split: String) -> SplitPosition {
        SplitPosition {
            split,
            position: serde_json::to_string(self).expect("invariant: a position is plain data"),
        }
    }

    /// Whether nothing is left.
    pub fn is_read(&self) -> bool {
        match &self.left {
            Left::Pieces(pieces) => pieces.runs.is_empty(),
            Left::Stream(place) => place.is_none(),
        }
    }

    /// What was written.
    ///
    /// # Errors
    /// It was not written by this connector.
    pub fn read(position: &SplitPosition) -> Result<FilePosition, String> {
        serde_json::from_str(&position.position)
            .map_err(|error| format!("the position in {} cannot be read: {error}", position.split))
    }
}

/// All pieces that the parts of one file have left, in order.
pub fn together<'a>(parts: impl Iterator<Item = &'a Pieces>) -> Vec<Piece> {
    let mut left: Vec<Piece> = parts.flat_map(Pieces::list).collect();
    left.sort_unstable();
    left
}

impl From<StreamPlace> for Left {
    fn from(place: StreamPlace) -> Left {
        Left::Stream(Some((place.offset, place.line)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_written_as_runs_and_read_one_by_one() {
        let numbers = [(4, 17), (7, 0), (10, 0), (11, 0), (12, 0), (20, 3)];
        let left: VecDeque<Piece> = numbers.map(|(number, from)| Piece { number, from }).into();
        let pieces = Pieces::new(10, String::new(), &left);
        assert_eq!(pieces.runs.len(), 3);
        assert_eq!(pieces.list().collect::<VecDeque<_>>(), left);
        let position = FilePosition {
            bytes: 200,
            header: "a,b\n".into(),
            left: Left::Pieces(pieces),
        };
        let written = position.write("file".into());
        assert_eq!(FilePosition::read(&written), Ok(position));
    }
}
