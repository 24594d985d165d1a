//! The hash of everything that happened in a run. Two runs of one seed must have the same.

use std::fmt::{Debug, Write};

/// A hash (64-bit FNV-1a) of the events so far.
#[derive(Debug)]
pub(crate) struct Trace {
    hash: u64,
    prints: bool,
}

/// Hashes what is formatted into it.
struct Hasher(u64);

impl Write for Hasher {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        Ok(())
    }
}

/// The hash of a value as `{:?}` shows it.
pub(crate) fn hash_of(value: &impl Debug) -> u64 {
    let mut hasher = Hasher(0xcbf2_9ce4_8422_2325);
    write!(hasher, "{value:?}").expect("hashing does not fail");
    hasher.0
}

impl Trace {
    pub(crate) fn new(prints: bool) -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, prints }
    }

    /// Adds an event.
    pub(crate) fn add(&mut self, at_ms: u64, event: std::fmt::Arguments<'_>) {
        if self.prints {
            println!("{at_ms:>7} {event}");
        }
        let mut hasher = Hasher(self.hash);
        write!(hasher, "{at_ms} {event}").expect("hashing does not fail");
        self.hash = hasher.0;
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }
}
