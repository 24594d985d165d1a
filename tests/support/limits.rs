//! The limits of random operations, and the definitions that an operation may put for each of them.

use ledger_limiter::limit::{Definition, Overage, Period};

use crate::fixtures::*;

/// A limit, and its possible definitions at a given capacity.
pub struct Named {
    pub name: &'static str,
    pub forms: &'static [fn(u64) -> Definition],
}

/// A window that only ends when an operation lets time pass, and a window that never ends during a run.
const SHORT_SECONDS: u64 = 15;
const LONG_SECONDS: u64 = 3_600;
/// A window of a year and a refill interval of a day: no step falls into a run over a real ledger.
const YEAR_SECONDS: u64 = 31_622_400;
const DAY_MS: u64 = 86_400_000;

/// Limits of which nothing expires or is refilled during a run, except on `short`. For ledgers whose time really passes.
pub static LASTING: &[Named] = &[
    Named { name: "long", forms: &[|capacity| rolling("long", capacity, LONG_SECONDS)] },
    Named { name: "short", forms: &[|capacity| rolling("short", capacity, SHORT_SECONDS)] },
    Named { name: "slots", forms: &[|capacity| concurrency("slots", capacity, LONG_SECONDS)] },
    Named { name: "deny", forms: &[|capacity| denying(rolling("deny", capacity, LONG_SECONDS))] },
    Named {
        name: "bucket",
        forms: &[
            |capacity| token_bucket("bucket", capacity, 3, DAY_MS),
            |capacity| token_bucket("bucket", capacity, 4, DAY_MS),
        ],
    },
    Named { name: "manual", forms: MANUAL },
    Named {
        name: "fixed",
        forms: &[
            |capacity| fixed_window("fixed", capacity, YEAR_SECONDS, 0),
            |capacity| denying(fixed_window("fixed", capacity, YEAR_SECONDS, 86_400)),
        ],
    },
    Named {
        name: "sliding",
        forms: &[
            |capacity| sliding_window("sliding", capacity, YEAR_SECONDS, 60),
            |capacity| sliding_window("sliding", capacity, YEAR_SECONDS, 2),
        ],
    },
];

/// Limits that expire or are refilled every few milliseconds or seconds, except `rolling` and `slots`. For a clock that a test
/// moves.
pub static MOVING: &[Named] = &[
    Named { name: "rolling", forms: &[|capacity| rolling("rolling", capacity, YEAR_SECONDS)] },
    Named { name: "slots", forms: &[|capacity| concurrency("slots", capacity, YEAR_SECONDS)] },
    Named {
        name: "tokens",
        forms: &[
            |capacity| token_bucket("tokens", capacity, 3, 250),
            |capacity| denying(token_bucket("tokens", capacity, 1, 40)),
            |capacity| token_bucket("tokens", capacity, 7, 1_000),
        ],
    },
    Named { name: "manual", forms: MANUAL },
    Named {
        name: "fixed",
        forms: &[
            |capacity| fixed_window("fixed", capacity, 2, 0),
            |capacity| fixed_window("fixed", capacity, 3, 1),
            |capacity| window_of_ms("fixed", capacity, 700, 0),
            // The same windows as in the first form, so the schedule stays.
            |capacity| denying(fixed_window("fixed", capacity, 2, 0)),
        ],
    },
    Named {
        name: "sliding",
        forms: &[
            |capacity| sliding_window("sliding", capacity, 3, 3),
            |capacity| sliding_window("sliding", capacity, 2, 7),
            |capacity| window_of_ms("sliding", capacity, 350, 3),
            |capacity| denying(sliding_window("sliding", capacity, 1, 60)),
        ],
    },
    Named {
        name: "calendar",
        forms: &[
            |capacity| calendar("calendar", capacity, Period::Day, "UTC", 0),
            |capacity| denying(calendar("calendar", capacity, Period::Day, "Asia/Kolkata", 0)),
            |capacity| calendar("calendar", capacity, Period::Day, "Asia/Kolkata", 7),
        ],
    },
    // Definitions of several kinds. The kind can change only after a deletion.
    Named {
        name: "any",
        forms: &[
            |capacity| token_bucket("any", capacity, 2, 500),
            |capacity| fixed_window("any", capacity, 2, 0),
            |capacity| calendar("any", capacity, Period::Day, "UTC", 0),
            |capacity| rolling("any", capacity, YEAR_SECONDS),
            |capacity| sliding_window("any", capacity, 3, 2),
        ],
    },
];

const MANUAL: &[fn(u64) -> Definition] = &[
    |capacity| manual_bucket("manual", capacity, 3),
    |capacity| denying(manual_bucket("manual", capacity, 5)),
];

fn denying(definition: Definition) -> Definition {
    Definition { overage: Overage::Deny, ..definition }
}
