//! One round of looks: reads the accounts of the limits that are due, and makes the steps that they ask for.

use std::iter::repeat_with;
use std::sync::Arc;

use tokio::time::Instant;
use ulid::Ulid;

use super::watches::{Claim, Due, Watches};
use super::{Alert, AlertObserver};
use crate::decide::Limit;
use crate::decide::alert::{self, Look, Step, StepResult};
use crate::decide::ids::Ids;
use crate::ledger::{Chain, ChainOutcome, Ledger, LedgerError, NewAccount};
use crate::limit::{LimitKey, Status};
use crate::limiter::reserve_batch::missing_outcome;
use crate::limiter::{Limiter, LimiterError};
use crate::registry::Entry;
use crate::telemetry::{Occurrences, with_sources};
use crate::time::unix_ms;

/// The accounts that are read at once: their answer fits the smallest messages that TigerBeetle can be set to.
const ACCOUNTS_AT_ONCE: usize = 240;

static STEP_LOST: Occurrences = Occurrences::new();

impl<L: Ledger> Limiter<L> {
    /// Makes one round of looks. Without an observer it does nothing.
    ///
    /// # Errors
    ///
    /// The ledger does not answer. What was not looked at is looked at in a later round.
    pub async fn look_for_alerts(&self) -> Result<(), LimiterError> {
        let Some(observer) = self.alerts.observer.get() else { return Ok(()) };
        let mut watches = self.alerts.watches.lock().await;
        let now = Instant::now();
        for entry in self.registry.snapshot().take_used_with_alerts() {
            watches.add(entry, now);
        }
        let (mut limits, mut claims) = (Vec::new(), Vec::new());
        for due in watches.next_round(now) {
            match due {
                Due::Look(entry) => limits.extend(self.newest(entry, &mut watches)),
                Due::Repeat(key, claim) => claims.push((key, claim)),
            }
        }
        let looked = self.look_at(&limits, &mut watches, &mut claims).await;
        // Also if a look has failed: steps that were found before must not be lost.
        self.step_and_tell(claims, &mut watches, &**observer).await;
        looked
    }

    /// The newest version of a limit that this process knows. The watch of a limit that is gone ends.
    fn newest(&self, entry: Arc<Entry>, watches: &mut Watches) -> Option<Arc<Entry>> {
        let newest = self.registry.snapshot().get(entry.key()).unwrap_or(entry);
        if newest.limit.state.status.is_gone() {
            watches.end(newest.key());
            return None;
        }
        Some(newest)
    }

    /// Looks at limits; adds the steps that they ask for to `claims`.
    async fn look_at(
        &self,
        limits: &[Arc<Entry>],
        watches: &mut Watches,
        claims: &mut Vec<(LimitKey, Claim)>,
    ) -> Result<(), LimiterError> {
        let mut rest = limits;
        while !rest.is_empty() {
            let (page, others) = rest.split_at(self.page_length(rest));
            rest = others;
            let now_ns = self.ledger.now_ns();
            if now_ns == 0 {
                // Without the time nobody knows the window of the usage.
                return Ok(());
            }
            let ids = page.iter().flat_map(|entry| alert::accounts(self.ids, &entry.limit)).collect();
            let mut accounts = self.ledger.accounts(ids).await?.into_iter();
            let mut missing = Vec::new();
            let mut found = Vec::new();
            for entry in page {
                let look = alert::next_look(&entry.limit, &mut accounts, now_ns)?;
                let definition = &entry.limit.state.definition;
                // A new version has closed the account, and is not read yet.
                let is_outdated = look.usage.is_closed && entry.limit.state.status == Status::Active;
                if !is_outdated && let Some(step) = look.step(definition.alerts, definition.capacity.get()) {
                    missing.extend(missing_account(self.ids, &entry.limit, &look));
                    found.push((entry.key().clone(), self.claim(&entry.limit, &look, step, now_ns)));
                }
                // A retired instance is closed, too; its next use looks again.
                let waits = !is_outdated && look.waits_to_be_armed();
                watches.end_unused(entry.key(), waits, Instant::now());
            }
            if !missing.is_empty() {
                self.ledger.create_accounts(missing).await?;
            }
            claims.append(&mut found);
        }
        Ok(())
    }

    /// How many of the first limits are read at once; at least one.
    fn page_length(&self, limits: &[Arc<Entry>]) -> usize {
        let mut accounts = 0;
        let fits = |entry: &&Arc<Entry>| {
            accounts += alert::accounts(self.ids, &entry.limit).count();
            accounts <= ACCOUNTS_AT_ONCE
        };
        limits.iter().take_while(fits).count().max(1)
    }

    fn claim(&self, limit: &Limit, look: &Look, step: Step, now_ns: u64) -> Claim {
        let definition = &limit.state.definition;
        let transfer = step.transfer(self.ids, limit, Ulid::generate().0);
        let alert = |percent| Alert {
            id: format!("{:032x}-{percent}", transfer.id.as_u128()),
            key: definition.key.clone(),
            threshold_percent: percent,
            capacity: definition.capacity.get(),
            used: look.used,
            available: look.usage.available,
            unit: definition.texts.unit().to_owned(),
            enforce: definition.enforce,
            window_ends_at_unix_ms: look.window_ends_ms,
            seen_at_unix_ms: unix_ms(now_ns),
        };
        Claim { transfer, alerts: step.crossed(definition.alerts).map(alert).collect() }
    }

    /// Sends steps together, and tells of those that this process made.
    async fn step_and_tell(
        &self,
        claims: Vec<(LimitKey, Claim)>,
        watches: &mut Watches,
        observer: &dyn AlertObserver,
    ) {
        let chains: Vec<Chain> =
            claims.iter().filter_map(|(_, claim)| Chain::new([claim.transfer])).collect();
        if chains.is_empty() {
            return;
        }
        let outcomes = self.ledger.submit(chains).await;
        let outcomes = outcomes.into_iter().chain(repeat_with(|| Err(missing_outcome())));
        for ((key, claim), outcome) in claims.into_iter().zip(outcomes) {
            match made(outcome) {
                Ok(StepResult::Made) => claim.alerts.iter().for_each(|alert| observer.crossed(alert)),
                Ok(StepResult::MadeByOther) => {}
                Err(LedgerError::Unexpected(error)) => {
                    if let Some(times) = STEP_LOST.count() {
                        tracing::error!(times, key = %key, error, "crossed thresholds cannot be told; the last of so many");
                    }
                }
                Err(error) => {
                    tracing::debug!(key = %key, error = with_sources(&error), "a step of an alert account is sent again");
                    watches.keep_claim(&key, claim);
                }
            }
        }
    }
}

fn made(outcome: Result<ChainOutcome, LedgerError>) -> Result<StepResult, LedgerError> {
    alert::interpret(outcome?)
}

/// The alert account of a limit, unless it is made.
fn missing_account(ids: Ids, limit: &Limit, look: &Look) -> Option<NewAccount> {
    (!look.has_account).then(|| alert::new_account(ids, limit))
}
