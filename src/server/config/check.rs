//! Checks that the settings are in range.

use super::settings::{BackoffSettings, RetryPolicySettings, Settings, TigerBeetleSettings};
use super::{ConfigError, bad};

impl Settings {
    /// Refuses the first setting that is out of range, by name.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let at_least_1 = |name: &str, number: u64| {
            if number == 0 { Err(bad(name, "must be at least 1")) } else { Ok(()) }
        };
        at_least_1("server.request_timeout_ms", self.server.request_timeout_ms)?;
        at_least_1("server.max_batch_requests", self.server.max_batch_requests as u64)?;
        at_least_1("registry.poll_interval_ms", self.registry.poll_interval_ms)?;
        at_least_1("registry.decrease_interval_ms", self.registry.decrease_interval_ms)?;
        at_least_1("registry.instance_idle_seconds", self.registry.instance_idle_seconds)?;
        if self.registry.path.as_os_str().is_empty() {
            return Err(bad("registry.path", "must not be empty"));
        }
        at_least_1("memory.retention_seconds", self.memory.retention_seconds)?;
        tracing_subscriber::EnvFilter::try_new(&self.log.filter)
            .map_err(|error| bad("log.filter", &error.to_string()))?;
        self.tigerbeetle.check()?;
        self.retry_policy.check()
    }
}

impl TigerBeetleSettings {
    fn check(&self) -> Result<(), ConfigError> {
        let between = |name: &str, number: usize, min: usize, max: usize| {
            if (min..=max).contains(&number) {
                Ok(())
            } else {
                Err(bad(name, &format!("must be between {min} and {max}, not {number}")))
            }
        };
        if self.addresses.is_empty() {
            return Err(bad("tigerbeetle.addresses", "must name at least one replica"));
        }
        for address in &self.addresses {
            let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port);
            if port.and_then(|port| port.parse::<u16>().ok()).is_none_or(|port| port == 0) {
                return Err(bad("tigerbeetle.addresses", &format!("{address:?} is not HOST:PORT")));
            }
        }
        if self.ledger == 0 {
            return Err(bad("tigerbeetle.ledger", "must be at least 1"));
        }
        // A cluster takes 64 sessions in all, and each service has one more for look-ups.
        between("tigerbeetle.sessions", self.sessions, 1, 8)?;
        // The longest chain is a complete of 32 requirements on closed accounts.
        between("tigerbeetle.max_batch_events", self.max_batch_events, 160, 8_189)?;
        between("tigerbeetle.queue_capacity", self.queue_capacity, 8_192, 1 << 24)
    }
}

impl RetryPolicySettings {
    fn check(&self) -> Result<(), ConfigError> {
        self.concurrency.check("retry_policy.concurrency")?;
        self.rolling.check("retry_policy.rolling")?;
        if !(0.0..=1.0).contains(&self.rolling_window_share) {
            return Err(bad("retry_policy.rolling_window_share", "must be between 0 and 1"));
        }
        if self.decreasing_ms == 0 {
            return Err(bad("retry_policy.decreasing_ms", "must be at least 1"));
        }
        Ok(())
    }
}

impl BackoffSettings {
    fn check(&self, prefix: &str) -> Result<(), ConfigError> {
        if self.base_ms == 0 {
            return Err(bad(&format!("{prefix}.base_ms"), "must be at least 1"));
        }
        if self.max_ms < self.base_ms {
            return Err(bad(&format!("{prefix}.max_ms"), "must be at least base_ms"));
        }
        if !(1.0..=100.0).contains(&self.factor) {
            return Err(bad(&format!("{prefix}.factor"), "must be between 1 and 100"));
        }
        Ok(())
    }
}
