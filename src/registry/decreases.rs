//! Applies decreases of capacity once enough is available.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use super::LIMITS_PAGE;
use super::admin::{Admin, AdminError, Saving};
use super::entry::Entry;
use crate::decide::Limit;
use crate::decide::definition_version::{self, decrease_takes_from};
use crate::ledger::{Account, Ledger};
use crate::telemetry::with_sources;

/// The pause after decreases could not be applied.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

impl<L: Ledger> Admin<L> {
    /// Applies every waiting decrease for which enough is available. A failure of one does not stop the others; the first
    /// failure is returned.
    pub async fn apply_decreases(&self) -> Result<(), AdminError> {
        let mut result = Ok(());
        let snapshot = self.registry.snapshot();
        let waiting: Vec<Arc<Entry>> =
            snapshot.decreasing().iter().filter_map(|key| snapshot.get(key)).collect();
        // Together, so that the refills share requests to the ledger.
        for caught_up in join_all(waiting.iter().map(|entry| self.registry.catch_up(entry))).await {
            // If a new version has replaced the schedule, the next round finds it.
            result = result.and(caught_up.map(drop).map_err(AdminError::from));
        }
        for page in waiting.chunks(LIMITS_PAGE) {
            // A closed account only sees voids, expiries and refills: what is available now stays available. A failed attempt
            // would use ids up, so the balance is read first.
            let ids = page.iter().flat_map(|entry| decrease_takes_from(&entry.limit)).collect();
            let accounts = self.registry.ledger.accounts(ids).await?;
            let mut accounts = accounts.into_iter();
            for entry in page {
                let count = decrease_takes_from(&entry.limit).count();
                let of_limit: Vec<_> = accounts.by_ref().take(count).flatten().collect();
                if is_ready(&entry.limit, &of_limit) {
                    let apply =
                        |current: Option<&Limit>| Ok(current.and_then(definition_version::apply_decrease));
                    // The file holds the target: a full disk must not keep the limit closed.
                    let applied = self.create_version(entry.key(), Saving::Later, apply).await;
                    result = result.and(applied.map(drop));
                }
            }
        }
        self.registry.saver.save().await;
        result
    }

    /// Applies decreases forever: after each request for one in this process, and every `interval` for those of other replicas.
    pub async fn run_decreases(&self, interval: Duration) {
        loop {
            if let Err(error) = self.apply_decreases().await {
                tracing::warn!(
                    error = with_sources(&error),
                    "decreases of capacity could not be applied; trying again"
                );
                tokio::time::sleep(RETRY_PAUSE).await;
            }
            let requested = self.decrease_requested.notified();
            // A time-out only ends the pause.
            tokio::time::timeout(interval, requested).await.ok();
        }
    }
}

/// Whether a waiting decrease can be applied, from the accounts that it takes from.
fn is_ready(limit: &Limit, accounts: &[Account]) -> bool {
    let available: u128 = accounts.iter().map(Account::available).sum();
    // An open account shows that another replica has applied the decrease.
    let is_open = accounts.first().is_some_and(|limit| !limit.closed);
    let needed = definition_version::decrease_needs(limit).map(u128::from);
    needed.is_some_and(|needed| is_open || available >= needed)
}
