//! What happens in a simulation, one line per event: hashed always, printed on request.

use std::cell::RefCell;
use std::fmt::Arguments;
use std::rc::Rc;

/// A trace that the world and its connectors write to.
#[derive(Clone)]
pub struct Trace(Rc<RefCell<Lines>>);

struct Lines {
    print: bool,
    hash: u64,
    events: u64,
}

impl Trace {
    /// An empty trace; it prints its events or not.
    pub fn new(print: bool) -> Trace {
        Trace(Rc::new(RefCell::new(Lines {
            print,
            hash: 0xcbf2_9ce4_8422_2325,
            events: 0,
        })))
    }

    /// Tells an event.
    pub fn tell(&self, event: Arguments<'_>) {
        let mut lines = self.0.borrow_mut();
        let text = event.to_string();
        // FNV-1a: enough to tell two traces apart.
        for byte in text.bytes() {
            lines.hash = (lines.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        lines.events += 1;
        if lines.print {
            println!("{text}");
        }
    }

    /// The hash of all events so far.
    pub fn hash(&self) -> u64 {
        self.0.borrow().hash
    }

    /// The number of events so far.
    pub fn events(&self) -> u64 {
        self.0.borrow().events
    }
}
