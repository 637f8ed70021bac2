//! What is left of the files of one shard, for a snapshot; and how a shard takes its share of what all shards had
//! left.
//!
//! **Invariant.** What was read and not handed out is left.

use std::collections::VecDeque;

use super::{Current, FileSplit, FilesystemSource, Place, Resume};
use crate::connectors::filesystem::Content;
use crate::connectors::filesystem::position::{FilePosition, Left, Piece, Pieces, together};
use crate::connectors::filesystem::pushed_filter::PushedFilter;
use crate::connectors::filesystem::stream::StreamPlace;
use crate::connectors::records::count_lines;

impl FilesystemSource {
    /// What is left of `split`, with what was read and not handed out.
    pub(super) fn left(&self, split: usize) -> Left {
        let FileSplit {
            file, resume, ended, ..
        } = &self.splits[split];
        let of_current = self.current.as_ref().filter(|current| current.split() == split);
        match resume {
            Resume::Stream(_) if *ended => Left::Stream(None),
            Resume::Stream(place) => match (of_current, &self.text) {
                (
                    Some(Current::Text {
                        place: Place::Stream(read),
                        ..
                    }),
                    Some(text),
                ) => StreamPlace {
                    offset: read.offset + text.cursor() as u64,
                    line: read.line + count_lines(text.decoded()),
                }
                .into(),
                _ => (*place).into(),
            },
            Resume::Pieces(pieces) => {
                let mut pieces = pieces.clone();
                let piece_bytes = match self.table.files[*file].content {
                    Content::Blocks => self.table.block_bytes,
                    _ => 0,
                };
                match (of_current, &self.text, pieces.front_mut()) {
                    (
                        Some(Current::Text {
                            place: Place::Block { offset },
                            ..
                        }),
                        Some(text),
                        Some(piece),
                    ) => {
                        piece.from = offset + text.cursor() as u64;
                        if text.cursor() == text.filled() {
                            pieces.pop_front();
                        }
                    }
                    (Some(Current::Rows { rows, .. }), _, Some(piece)) => {
                        piece.from -= rows.num_rows() as u64
                    }
                    _ => {}
                }
                let filter = self.filter.as_ref().map_or(String::new(), PushedFilter::text);
                Left::Pieces(Pieces::new(piece_bytes, filter, &pieces))
            }
        }
    }

    /// What this shard takes of a file of which `parts` are left: every piece in turn, or the stream.
    pub(super) fn deal(&self, file: usize, parts: &[FilePosition]) -> Result<Option<Resume>, String> {
        let input = &self.table.files[file];
        let path = input.path.display();
        let bytes = parts.iter().map(|part| part.bytes).max().unwrap_or(0);
        if input.bytes < bytes && !matches!(input.content, Content::Stream(_)) {
            return Err(format!(
                "{path} has become shorter since the checkpoint was taken"
            ));
        }
        let is_mine = |index: u64| (index + input.pieces_before) % self.shards == self.shard;
        if matches!(input.content, Content::Stream(_)) {
            let mut places = parts.iter().filter_map(|part| match part.left {
                Left::Stream(place) => place,
                Left::Pieces(_) => None,
            });
            let place = places.next().filter(|_| is_mine(0));
            return Ok(place.map(|(offset, line)| Resume::Stream(StreamPlace { offset, line })));
        }
        let pieces = parts.iter().filter_map(|part| match &part.left {
            Left::Pieces(pieces) => Some(pieces),
            Left::Stream(_) => None,
        });
        let is_text = matches!(input.content, Content::Blocks);
        let filter = self.filter.as_ref().map_or(String::new(), PushedFilter::text);
        let expected = if is_text { self.table.block_bytes } else { 0 };
        if pieces.clone().any(|pieces| pieces.piece_bytes != expected) {
            return Err(format!(
                "{path} was read in pieces of another size when the checkpoint was taken"
            ));
        }
        let mut left = together(pieces.clone());
        let is_cut = left.iter().any(|piece| piece.from > 0);
        if !is_text && is_cut && pieces.clone().any(|pieces| pieces.filter != filter) {
            return Err(format!(
                "{path} was read to the middle of a row group behind another filter; run the query as it was to the \
                 file's end first"
            ));
        }
        if is_text && input.bytes > bytes {
            // What was appended: from the old end on, and whole blocks behind it.
            let last = bytes / self.table.block_bytes;
            if left.last().is_none_or(|piece| piece.number < last) {
                left.push(Piece {
                    number: last,
                    from: bytes,
                });
            }
            left.extend((last + 1..input.pieces).map(|number| Piece { number, from: 0 }));
        }
        let mine = (0..).zip(left).filter(|&(index, _)| is_mine(index));
        let mine: VecDeque<Piece> = mine.map(|(_, piece)| piece).collect();
        Ok((!mine.is_empty()).then_some(Resume::Pieces(mine)))
    }
}
