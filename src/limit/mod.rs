//! The vocabulary: keys, amounts, definitions and leases. A value of one of these types is always valid; what is
//! wrong is refused when it is built, with the name of the field.

mod amount;
mod concurrency;
mod definition;
mod fixed_window;
mod key;
mod lease;
mod refill_rate;
mod rolling;
mod scheduled;
mod sliding_window;
mod state;
mod steps;
mod template;
mod texts;
mod token_bucket;

pub use amount::{Amount, AmountError};
pub use concurrency::Concurrency;
pub use definition::{Definition, DefinitionError, Kind, KindFields, KindName, Overage};
pub use fixed_window::FixedWindow;
pub use key::{KEY_BYTES_MAX, KeyError, LimitKey};
pub use lease::{LeaseId, LeaseIdError};
pub use refill_rate::{RefillRate, RefillRateError};
pub use rolling::Rolling;
pub use scheduled::{ComesBack, Scheduled};
pub use sliding_window::{SEGMENTS_MAX, SlidingWindow};
pub use state::{LimitState, Origin, Status};
pub use steps::Steps;
pub use template::{INSTANCES_MAX_DEFAULT, KeyTemplate};
pub use texts::{DESCRIPTION_BYTES_MAX, Texts, UNIT_BYTES_MAX};
pub use token_bucket::{REFILL_INTERVAL_MS_MAX, TokenBucket};

/// The longest window or timeout of a limit, in seconds: 366 days.
pub const SECONDS_MAX: u32 = 31_622_400;
