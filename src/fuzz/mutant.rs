//! Mutants: inputs of a corpus with a few changes. Random bytes alone never get past the first character of JSON.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

/// Pieces that parsers treat in a way of their own.
const PIECES: &[&[u8]] = &[
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b":",
    b",",
    b"null",
    b"true",
    b"0",
    b"-1",
    b"-0",
    b"1e309",
    b"1e-400",
    b"0.5e1",
    b"9223372036854775807",
    b"9223372036854775808",
    b"18446744073709551616",
    b"\\u0000",
    b"\\ud800",
    b"\xff",
    b"\0",
    b"\xef\xbb\xbf",
    b"%3A",
    b"%3a",
    b"%",
    b"{x}",
    b"{x*}",
    b"*",
    b".",
    b"..",
    b"/",
    b"\r\n",
    b"=",
    b"#",
    b"'''",
    b"0000000000000000000000000000000000000000",
    b"eyJhbGciOiJub25lIn0",
];
/// The longest mutant, in bytes.
const BYTES_MAX: usize = 1 << 16;

/// Makes mutants of a corpus.
pub(super) struct Mutants {
    corpus: Vec<Vec<u8>>,
}

impl Mutants {
    pub(super) fn of(corpus: Vec<Vec<u8>>) -> Self {
        Self { corpus }
    }

    /// The mutant with this number: always the same.
    pub(super) fn next(&mut self, number: u64) -> Vec<u8> {
        let mut random = StdRng::seed_from_u64(number);
        let mut input = self.corpus.choose(&mut random).cloned().unwrap_or_default();
        for _ in 0..random.random_range(1..=6) {
            self.change(&mut input, &mut random);
        }
        input.truncate(BYTES_MAX);
        input
    }

    fn change(&self, input: &mut Vec<u8>, random: &mut StdRng) {
        let at = random.random_range(0..=input.len());
        let end = (at + random.random_range(0..=16)).min(input.len());
        let piece = PIECES.choose(random).copied().unwrap_or_default().iter().copied();
        match random.random_range(0..7) {
            0 => drop(input.splice(at..end, [])),
            1 => drop(input.splice(at..at, piece)),
            2 => drop(input.splice(at..end, piece)),
            3 => input.iter_mut().skip(at).take(1).for_each(|byte| *byte = random.random()),
            4 => input.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << random.random_range(0..8)),
            5 => {
                let copied = input[at..end].repeat(random.random_range(1..=64));
                drop(input.splice(at..at, copied));
            }
            _ => {
                let other = self.corpus.choose(random).cloned().unwrap_or_default();
                let from = random.random_range(0..=other.len());
                input.truncate(at);
                input.extend(&other[from..]);
            }
        }
    }
}
