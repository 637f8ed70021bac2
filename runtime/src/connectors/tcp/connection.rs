//! One connection that is read: its bytes, cut at record ends.
//!
//! **Invariant.** Bytes leave as whole records, in the order in which they came; a record without its end waits, within the
//! bound of a record.

use std::net::TcpStream;

use rustix::io::Errno;
use shards::connector::ConnectorError;

use crate::connectors::records::{RECORD_BYTES_MAX, RecordBoundary, count_lines, record_too_long};
use crate::limits::TCP_READ_BYTES;

/// A connection.
#[derive(Debug)]
pub struct Connection {
    /// The socket.
    pub stream: TcpStream,
    /// Whom it leads to, for messages.
    pub peer: String,
    /// The line that the next records begin with.
    line: u64,
    /// What has come of a record that has not ended.
    rest: Vec<u8>,
}

/// What a read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Brought {
    /// Whole records, from this line on.
    Records {
        /// From 1.
        line: u64,
    },
    /// A part of a record.
    Part,
    /// Nothing is there.
    Nothing,
    /// The peer has sent all it had; a last record without its line break may have come with it.
    End {
        /// As of records.
        line: u64,
    },
    /// The peer has gone without an end.
    Lost,
}

impl Connection {
    /// A connection to `peer`.
    pub fn new(stream: TcpStream, peer: String) -> Connection {
        Connection {
            stream,
            peer,
            line: 1,
            rest: Vec::new(),
        }
    }

    /// Reads once; whole records are appended to `records`, which is empty.
    ///
    /// # Errors
    /// A record that is too long.
    pub fn read(
        &mut self,
        boundary: RecordBoundary,
        records: &mut Vec<u8>,
    ) -> Result<Brought, ConnectorError> {
        let held = self.rest.len();
        records.append(&mut self.rest);
        records.reserve(TCP_READ_BYTES);
        let read = loop {
            match rustix::io::read(&self.stream, rustix::buffer::spare_capacity(records)) {
                Err(Errno::INTR) => {}
                read => break read,
            }
        };
        match read {
            Ok(0) => {
                if records.last().is_some_and(|&last| last != b'\n') {
                    records.push(b'\n');
                }
                return Ok(Brought::End { line: self.line });
            }
            Ok(_) => {}
            Err(error) => {
                self.rest = std::mem::take(records);
                return Ok(match error {
                    Errno::AGAIN => Brought::Nothing,
                    _ => Brought::Lost,
                });
            }
        }
        // Without quotes only the new bytes can hold the end of a record.
        let scan_from = if boundary.is_splittable() { held } else { 0 };
        let whole = match boundary.last_record_end(&records[scan_from..]) {
            0 => 0,
            length => scan_from + length,
        };
        self.rest = records.split_off(whole);
        if self.rest.len() > RECORD_BYTES_MAX {
            let place = format!("connection from {}, line {}", self.peer, self.line);
            return Err(ConnectorError::new(record_too_long(&place)));
        }
        let line = self.line;
        self.line += count_lines(records);
        Ok(match whole {
            0 => Brought::Part,
            _ => Brought::Records { line },
        })
    }
}
