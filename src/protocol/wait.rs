//! How long a caller waits at the server for room, and with which priority.

use super::error::CommandError;

/// The longest wait of one request, in milliseconds.
pub const WAIT_MS_MAX: u64 = 60_000;
/// The highest priority.
pub const PRIORITY_MAX: u64 = 9;
/// The priority of a request that names none.
pub const PRIORITY_DEFAULT: u8 = 5;

/// How long a caller waits at the server for room, and with which priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    max_ms: u32,
    priority: u8,
}

impl Wait {
    /// Waits at most `max_ms` milliseconds, 0 to 60,000, with a priority of 0 to 9; 9 is served first.
    ///
    /// # Errors
    ///
    /// One of the numbers is out of range.
    pub fn new(max_ms: u64, priority: u64) -> Result<Self, CommandError> {
        let out_of_range = |field, max| CommandError::OutOfRange { field, max };
        let max_ms = u32::try_from(max_ms).ok().filter(|&ms| u64::from(ms) <= WAIT_MS_MAX);
        let priority = u8::try_from(priority).ok().filter(|&priority| u64::from(priority) <= PRIORITY_MAX);
        Ok(Self {
            max_ms: max_ms.ok_or_else(|| out_of_range("max_wait_ms", WAIT_MS_MAX))?,
            priority: priority.ok_or_else(|| out_of_range("priority", PRIORITY_MAX))?,
        })
    }

    /// The longest wait, in milliseconds; 0 does not wait.
    pub fn max_ms(self) -> u64 {
        self.max_ms.into()
    }

    /// The priority, 0 to 9.
    pub fn priority(self) -> u8 {
        self.priority
    }
}

impl Default for Wait {
    /// Does not wait.
    fn default() -> Self {
        Self { max_ms: 0, priority: PRIORITY_DEFAULT }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_out_of_range_are_refused() {
        for (max_ms, priority, is_valid) in
            [(0, 0, true), (60_000, 9, true), (60_001, 5, false), (u64::MAX, 5, false), (1, 10, false)]
        {
            assert_eq!(Wait::new(max_ms, priority).is_ok(), is_valid, "{max_ms} ms, priority {priority}");
        }
    }
}
