//! Times of the ledger, in milliseconds since the Unix epoch, as [`SystemTime`].

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A time of the ledger. One that this platform cannot represent becomes the epoch.
pub(super) fn system_time(unix_ms: u64) -> SystemTime {
    UNIX_EPOCH.checked_add(Duration::from_millis(unix_ms)).unwrap_or(UNIX_EPOCH)
}

/// A time of the ledger; `None` for 0, which stands for no time.
pub(super) fn some_system_time(unix_ms: u64) -> Option<SystemTime> {
    (unix_ms != 0).then(|| system_time(unix_ms))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::unix_ms_of;

    #[test]
    fn times_are_converted_to_the_millisecond() {
        for ms in [0, 1, 1_767_225_600_123] {
            assert_eq!(unix_ms_of(system_time(ms)), ms);
        }
        assert_eq!(some_system_time(0), None);
        assert_eq!(some_system_time(7), Some(UNIX_EPOCH + Duration::from_millis(7)));
    }
}
