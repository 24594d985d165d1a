//! The measurements, each in a file of its own.

mod allotments_cost;
mod allotments_http;
mod allotments_in_process;
mod batches;
mod call_cost;
mod growth_memory;
mod growth_tigerbeetle;
mod http_memory;
mod http_tigerbeetle;
mod overload;
mod pairs;
pub(crate) mod resident;
mod unloaded;

use crate::failure::Failure;
use crate::report::Row;

/// One measurement.
pub(crate) struct Measure {
    /// Its name for `--only`.
    pub(crate) name: &'static str,
    pub(crate) run: fn(Pace) -> Result<Vec<Row>, Failure>,
    /// The settings, and which side the measurement may favour.
    pub(crate) note: &'static str,
}

/// How long to measure.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pace {
    Full,
    /// Short rounds, only to see that everything runs.
    Quick,
}

impl Pace {
    fn pick<T>(self, full: T, quick: T) -> T {
        match self {
            Self::Full => full,
            Self::Quick => quick,
        }
    }
}

/// All measurements, in the order in which they run.
pub(crate) const MEASURES: [Measure; 13] = [
    Measure { name: "http-memory", run: http_memory::run, note: http_memory::NOTE },
    Measure { name: "http-tigerbeetle", run: http_tigerbeetle::run, note: http_tigerbeetle::NOTE },
    Measure { name: "batches", run: batches::run, note: batches::NOTE },
    Measure { name: "unloaded", run: unloaded::run, note: unloaded::NOTE },
    Measure { name: "pairs", run: pairs::run, note: pairs::NOTE },
    Measure { name: "resident", run: resident::run, note: resident::NOTE },
    Measure { name: "overload", run: overload::run, note: overload::NOTE },
    Measure { name: "call-cost", run: call_cost::run, note: call_cost::NOTE },
    Measure { name: "growth-memory", run: growth_memory::run, note: growth_memory::NOTE },
    Measure { name: "growth-tigerbeetle", run: growth_tigerbeetle::run, note: growth_tigerbeetle::NOTE },
    Measure {
        name: "allotments-in-process",
        run: allotments_in_process::run,
        note: allotments_in_process::NOTE,
    },
    Measure { name: "allotments-http", run: allotments_http::run, note: allotments_http::NOTE },
    Measure { name: "allotments-cost", run: allotments_cost::run, note: allotments_cost::NOTE },
];
