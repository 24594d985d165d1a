//! Fuzzing: each parser of bytes from outside takes any bytes, panics on none, and reads back what it writes.
//!
//! `targets.rs` has a function for each parser. `corpus/NAME/` has inputs for it: good ones, and ones that once went wrong.
//! A test runs each of them, and mutants of them (`mutant.rs`), 2,000 for each target. More, and inputs that bolero's
//! engines look for:
//!
//! ```console
//! $ FUZZ_MUTANTS=1000000 cargo test --release --lib fuzz:: -- --nocapture
//! $ cargo bolero test fuzz::reserve_body --engine libfuzzer
//! ```
//!
//! A failure names the seed and writes the input to the corpus, so that the next run begins with it.

mod mutant;
mod targets;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use mutant::Mutants;

/// The mutants of each target in an ordinary run.
const MUTANTS: u64 = 2_000;

/// Runs a target on its corpus, and on mutants of it.
fn run(name: &str, target: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/fuzz/corpus").join(name);
    let corpus = read_corpus(&folder);
    assert!(!corpus.is_empty(), "{} has no input", folder.display());
    for (path, input) in &corpus {
        run_one(target, input, || format!("{} fails", path.display()));
    }
    let count = std::env::var("FUZZ_MUTANTS").map_or(MUTANTS, |count| count.parse().expect("a number"));
    let mut mutants = Mutants::of(corpus.into_iter().map(|(_, input)| input).collect());
    for number in 0..count {
        let input = mutants.next(number);
        run_one(target, &input, || {
            let path = folder.join(format!("failed-{number}"));
            fs::write(&path, &input).expect("the corpus can be written");
            format!("mutant {number} fails: {}", path.display())
        });
    }
    eprintln!("{name}: {count} mutants");
}

fn run_one(target: fn(&[u8]), input: &[u8], told: impl FnOnce() -> String) {
    if catch_unwind(AssertUnwindSafe(|| target(input))).is_err() {
        panic!("{}", told());
    }
}

/// The inputs of a folder, by name.
fn read_corpus(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read(path).expect("a file"))).collect()
}

macro_rules! fuzz_tests {
    ($($(#[$attribute:meta])* $name:ident),* $(,)?) => {$(
        $(#[$attribute])*
        #[test]
        fn $name() {
            run(stringify!($name), targets::$name);
            bolero::check!().for_each(targets::$name);
        }
    )*};
}

fuzz_tests! {
    reserve_body, complete_body, extend_body, renew_body, object_bodies, batch_body, definition_body, key, lease_id, template,
    definition_of_the_ledger,
    #[cfg(feature = "server")] registry_file,
    #[cfg(feature = "server")] configuration,
    #[cfg(feature = "server")] token_file,
    #[cfg(feature = "server")] certificate_file,
    #[cfg(feature = "server")] client_certificate,
    #[cfg(feature = "server")] tls_files,
    #[cfg(feature = "server")] jwt,
    #[cfg(feature = "server")] key_pattern,
    #[cfg(feature = "server")] host_header,
    #[cfg(feature = "server")] check_request,
    #[cfg(feature = "grpc")] gateway_rules,
    #[cfg(feature = "grpc")] gateway_request,
}
