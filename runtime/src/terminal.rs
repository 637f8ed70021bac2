//! Lines for people on standard error, and text on standard output. Rust ignores SIGPIPE, so a
//! reader that goes away shows itself as an error of a write: never a reason to panic.

use std::io::{ErrorKind, IsTerminal, Write};

/// A line on standard error; a closed one is no reason to stop.
pub fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Whether somebody watches standard error.
pub fn is_watched() -> bool {
    std::io::stderr().is_terminal()
}

/// Text on standard output; a reader that has gone away is as good as one that has read it.
///
/// # Errors
/// The write failed for another reason.
pub fn print(text: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}
