//! The one thread that reads standard input, cuts it at record ends and deals the pieces
//! block-cyclically to the shards that decode it: all of them, or the first alone where the order of
//! the input matters.
//!
//! ```text
//! fd 0 ─▶ reader thread ─ block 0, n, … ─▶ bounded queue ─▶ shard 0
//!                       └ block 1, n+1, … ▶ bounded queue ─▶ shard 1
//! ```
//! **Invariant.** Whatever one `read` brought goes out at once, cut at the last record end: a slow
//! producer's lines never wait for more. Queues are bounded; a full one holds the producer back.

use std::io::{ErrorKind, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};

use engine::formats::FormatError;
use shards::connector::ConnectorError;

use crate::connectors::context::Wake;
use crate::connectors::records::{RECORD_BYTES_MAX, RecordBoundary, count_lines, record_too_long};
use crate::limits::STDIN_BLOCK_BYTES;
use crate::limits::STDIN_BLOCKS_MAX;

/// Whole records, and the number (from 1) of the line they start with.
#[derive(Debug)]
pub struct InputBlock {
    /// The records' bytes.
    pub records: Vec<u8>,
    /// Line of the first record.
    pub line: u64,
}

/// What the reader sends; a closed queue is the end of the input.
#[derive(Debug)]
pub enum InputMessage {
    /// The input's header, to every shard.
    Header(Arc<[u8]>),
    /// Records, to one shard.
    Block(InputBlock),
    /// Why there will be no more, to one shard.
    Failure(ConnectorError),
}

/// How many of an input's first bytes are its header.
pub type HeaderLength = Box<dyn FnMut(&[u8]) -> Result<usize, FormatError> + Send>;

/// The queues between the reader thread and the shards.
#[derive(Debug)]
pub struct InputQueues {
    senders: Mutex<Option<Vec<SyncSender<InputMessage>>>>,
    receivers: Vec<Mutex<Option<Receiver<InputMessage>>>>,
}

impl InputQueues {
    /// Queues to the first `readers` of `shards` shards, the others' are closed; nothing is read before
    /// [`InputQueues::start`].
    pub fn new(shards: usize, readers: usize) -> InputQueues {
        assert!((1..=shards).contains(&readers), "invariant: some shard reads");
        let (mut senders, receivers): (Vec<_>, Vec<_>) =
            (0..shards).map(|_| sync_channel(STDIN_BLOCKS_MAX)).unzip();
        senders.truncate(readers);
        InputQueues {
            senders: Mutex::new(Some(senders)),
            receivers: receivers
                .into_iter()
                .map(|receiver| Mutex::new(Some(receiver)))
                .collect(),
        }
    }

    /// Shard `shard`'s end of its queue; taken once.
    pub fn take_receiver(&self, shard: usize) -> Option<Receiver<InputMessage>> {
        self.receivers[shard]
            .lock()
            .expect("invariant: nobody panics while taking a queue")
            .take()
    }

    /// Starts the reader thread over `input`; it ends with its input, when the shards have gone, or
    /// with the process. Called once. `name` is what messages call the input.
    pub fn start(
        &self,
        input: impl Read + Send + 'static,
        name: &'static str,
        boundary: RecordBoundary,
        header: HeaderLength,
        wakers: Vec<Arc<dyn Wake>>,
    ) {
        let senders = self
            .senders
            .lock()
            .expect("invariant: nobody panics while taking a queue")
            .take()
            .expect("invariant: the reader is started once");
        std::thread::Builder::new()
            .name("velocore-stdin".to_string())
            .spawn(move || {
                let mut dealer = Dealer {
                    senders,
                    wakers,
                    next: 0,
                    header: Some(header),
                };
                if let Err(error) = deal_records(input, name, boundary, &mut dealer) {
                    dealer.deal(InputMessage::Failure(error));
                }
                dealer.end();
            })
            .expect("invariant: the process may start a thread");
    }
}

/// Sends blocks to the shards in turn.
struct Dealer {
    senders: Vec<SyncSender<InputMessage>>,
    wakers: Vec<Arc<dyn Wake>>,
    next: usize,
    /// Tells the header off the first records, until they have come.
    header: Option<HeaderLength>,
}

impl Dealer {
    /// Sends to the shard whose turn it is; false once that shard has gone.
    fn deal(&mut self, message: InputMessage) -> bool {
        let shard = self.next;
        self.next = (self.next + 1) % self.senders.len();
        if self.senders[shard].send(message).is_err() {
            return false;
        }
        self.wakers[shard].wake();
        true
    }

    /// Takes the header off the first records, if there is one, and gives it to all shards.
    fn deal_header(&mut self, records: &mut Vec<u8>) -> Result<bool, FormatError> {
        let length = match self.header.take() {
            Some(mut length) => length(records)?,
            None => 0,
        };
        if length == 0 {
            return Ok(true);
        }
        let header: Arc<[u8]> = records.drain(..length).collect();
        let shards = 0..self.senders.len();
        Ok(shards.fold(true, |goes_on, _| {
            self.deal(InputMessage::Header(Arc::clone(&header))) && goes_on
        }))
    }

    /// Closes the queues and lets every shard see it.
    fn end(self) {
        drop(self.senders);
        for waker in &self.wakers {
            waker.wake();
        }
    }
}

fn deal_records(
    mut input: impl Read,
    name: &str,
    boundary: RecordBoundary,
    dealer: &mut Dealer,
) -> Result<(), ConnectorError> {
    let mut buffer: Vec<u8> = Vec::new();
    let mut line = 1;
    loop {
        let held = buffer.len();
        buffer.resize(held + STDIN_BLOCK_BYTES, 0);
        let read = read_some(&mut input, &mut buffer[held..]).map_err(|error| {
            ConnectorError::new(format!("cannot read {name} behind line {line}: {error}"))
        })?;
        buffer.truncate(held + read);
        // Without quotes only the new bytes can hold the end of a record.
        let scan_from = if boundary.is_splittable() { held } else { 0 };
        let whole = match boundary.last_record_end(&buffer[scan_from..]) {
            _ if read == 0 => buffer.len(),
            0 => 0,
            length => scan_from + length,
        };
        if whole > 0 {
            let rest = buffer.split_off(whole);
            let mut records = std::mem::replace(&mut buffer, rest);
            line += count_lines(&records);
            let header = dealer.deal_header(&mut records);
            if !header.map_err(|error| ConnectorError::new(format!("{name}: {error}")))? {
                return Ok(());
            }
            let line = line - count_lines(&records);
            let block = InputBlock { line, records };
            if !dealer.deal(InputMessage::Block(block)) {
                return Ok(());
            }
        } else if buffer.len() > RECORD_BYTES_MAX {
            return Err(ConnectorError::new(record_too_long(&format!(
                "{name}, line {line}"
            ))));
        }
        if read == 0 {
            return Ok(());
        }
    }
}

/// Reads what is there; 0 is the end.
fn read_some(input: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    loop {
        match input.read(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let stdin = rustix::stdio::stdin();
                let mut wait = [rustix::event::PollFd::new(&stdin, rustix::event::PollFlags::IN)];
                rustix::event::poll(&mut wait, None)?;
            }
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    struct NoWake;

    impl Wake for NoWake {
        fn wake(&self) {}
    }

    /// A producer that gives these pieces, one a read.
    struct Pieces(Vec<&'static str>);

    impl Read for Pieces {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            if self.0.is_empty() {
                return Ok(0);
            }
            let piece = self.0.remove(0);
            buffer[..piece.len()].copy_from_slice(piece.as_bytes());
            Ok(piece.len())
        }
    }

    fn block(message: InputMessage) -> InputBlock {
        match message {
            InputMessage::Block(block) => block,
            other => panic!("{other:?} is no block"),
        }
    }

    #[test]
    fn every_read_goes_out_at_once_as_whole_records_in_turn() {
        let queues = InputQueues::new(2, 2);
        let wakers: Vec<Arc<dyn Wake>> = vec![Arc::new(NoWake), Arc::new(NoWake)];
        let pieces = Pieces(vec!["a\nb", "c\nd\n", "e", "f"]);
        queues.start(
            pieces,
            "standard input",
            RecordBoundary::Line,
            Box::new(|_| Ok(0)),
            wakers,
        );
        let read = |shard: usize| -> Vec<(u64, String)> {
            let receiver = queues.take_receiver(shard).unwrap();
            receiver
                .iter()
                .map(block)
                .map(|block| (block.line, String::from_utf8(block.records).unwrap()))
                .collect()
        };
        assert_eq!(read(0), [(1, "a\n".to_string()), (4, "ef".to_string())]);
        assert_eq!(read(1), [(2, "bc\nd\n".to_string())]);
    }

    #[test]
    fn one_reader_takes_everything_and_the_others_see_the_end() {
        let queues = InputQueues::new(2, 1);
        let wakers: Vec<Arc<dyn Wake>> = vec![Arc::new(NoWake), Arc::new(NoWake)];
        let pieces = Pieces(vec!["a\n", "b\n"]);
        let boundary = RecordBoundary::Line;
        queues.start(pieces, "standard input", boundary, Box::new(|_| Ok(0)), wakers);
        let lines = |shard: usize| -> Vec<u64> {
            let receiver = queues.take_receiver(shard).unwrap();
            receiver.iter().map(block).map(|block| block.line).collect()
        };
        assert_eq!(lines(1), [] as [u64; 0]);
        assert_eq!(lines(0), [1, 2]);
    }

    #[test]
    fn a_header_goes_to_every_shard_and_lines_are_numbered_behind_it() {
        let queues = InputQueues::new(2, 2);
        let wakers: Vec<Arc<dyn Wake>> = vec![Arc::new(NoWake), Arc::new(NoWake)];
        let pieces = Pieces(vec!["a,b\n1,2\n", "3,4\n"]);
        let boundary = RecordBoundary::QuotedLine {
            quote: b'"',
            delimiter: b',',
        };
        queues.start(pieces, "standard input", boundary, Box::new(|_| Ok(4)), wakers);
        for (shard, records, line) in [(0, "1,2\n", 2), (1, "3,4\n", 3)] {
            let receiver = queues.take_receiver(shard).unwrap();
            let InputMessage::Header(header) = receiver.recv().unwrap() else {
                panic!("the header comes first");
            };
            assert_eq!(&*header, b"a,b\n");
            let block = block(receiver.recv().unwrap());
            assert_eq!((&block.records[..], block.line), (records.as_bytes(), line));
        }
    }

    #[test]
    fn a_record_without_end_is_refused_within_bounded_memory() {
        let queues = InputQueues::new(1, 1);
        let endless = std::io::repeat(b'x');
        queues.start(
            endless,
            "standard input",
            RecordBoundary::Line,
            Box::new(|_| Ok(0)),
            vec![Arc::new(NoWake)],
        );
        let message = queues.take_receiver(0).unwrap().recv().unwrap();
        let InputMessage::Failure(error) = message else {
            panic!("the record is too long");
        };
        let error = error.message;
        assert!(error.contains("standard input, line 1"), "{error}");
    }

    /// Lines without end; counts how many bytes were asked for.
    struct Endless(Arc<AtomicUsize>);

    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            for (at, byte) in buffer.iter_mut().enumerate() {
                *byte = if at % 64 == 63 { b'\n' } else { b'x' };
            }
            self.0.fetch_add(buffer.len(), Ordering::SeqCst);
            Ok(buffer.len())
        }
    }

    #[test]
    fn a_reader_ahead_of_its_shards_stops() {
        let queues = InputQueues::new(1, 1);
        let read = Arc::new(AtomicUsize::new(0));
        let boundary = RecordBoundary::Line;
        let wakers: Vec<Arc<dyn Wake>> = vec![Arc::new(NoWake)];
        let endless = Endless(Arc::clone(&read));
        queues.start(endless, "standard input", boundary, Box::new(|_| Ok(0)), wakers);
        let receiver = queues.take_receiver(0).unwrap();
        for taken in 1..=50 {
            let block = block(receiver.recv().unwrap());
            assert!(block.records.len() <= STDIN_BLOCK_BYTES);
            // Those that wait, one in the reader's hands, and one being read.
            let ahead = read.load(Ordering::SeqCst) / STDIN_BLOCK_BYTES - taken;
            assert!(ahead <= STDIN_BLOCKS_MAX + 2, "{ahead} blocks ahead");
        }
    }
}
