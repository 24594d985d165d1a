//! Records the debt of leases that were granted without the ledger, once it answers again.

use std::iter::repeat_with;
use std::sync::atomic::Ordering;

use futures_util::future::join_all;
use tokio::time::Instant;

use super::leases::Unrecorded;
use super::{EmergencyCounts, EmergencyDebt};
use crate::decide::emergency_debt::{self, Claim, DebtResult, WithPass};
use crate::ledger::{Chain, ChainOutcome, Ledger, LedgerError};
use crate::limit::LeaseId;
use crate::limiter::reserve_batch::missing_outcome;
use crate::limiter::{Limiter, LimiterError};
use crate::protocol::ReserveOutcome;
use crate::telemetry::{Occurrences, with_sources};

/// The most leases that are recorded at once, so that their chains fit one request to the ledger.
const RECORDED_AT_ONCE: usize = 64;

static ALL_RECORDED: Occurrences = Occurrences::new();
static NOT_RECORDED: Occurrences = Occurrences::new();

impl EmergencyCounts {
    fn count_recorded(&self) {
        self.recorded.fetch_add(1, Ordering::Relaxed);
    }
}

impl<L: Ledger> Limiter<L> {
    /// Records the debt of leases that were granted without the ledger.
    ///
    /// # Errors
    ///
    /// The ledger still does not answer. The leases are kept: call this again.
    pub async fn record_emergency_debt(&self, debt: EmergencyDebt) -> Result<(), LimiterError> {
        if self.emergency.counts.held() == 0 {
            return Ok(());
        }
        loop {
            let unrecorded = self.emergency.lock().unrecorded(debt, Instant::now(), RECORDED_AT_ONCE);
            if unrecorded.is_empty() {
                break;
            }
            self.record_leases(&unrecorded).await?;
        }
        if self.emergency.counts.held() == 0
            && let Some(times) = ALL_RECORDED.count()
        {
            tracing::info!(
                times,
                recorded = self.emergency.counts.recorded(),
                "the ledger answers again, and every lease that was granted without it is recorded"
            );
        }
        Ok(())
    }

    /// Records leases, each whole, and forgets them. Fails with the first that is kept.
    async fn record_leases(&self, unrecorded: &[Unrecorded]) -> Result<(), LimiterError> {
        let plan = |it: &Unrecorded| {
            emergency_debt::plan(self.ids, it.lease, &it.used, Claim::FirstLeg, WithPass::Yes)
        };
        let (planned, chains): (Vec<&Unrecorded>, Vec<Chain>) =
            unrecorded.iter().filter_map(|it| Some((it, plan(it)?))).unzip();
        let outcomes = self.ledger.submit(chains).await;
        // Together, so that look-ups share requests to the ledger.
        let outcomes = outcomes.into_iter().chain(repeat_with(|| Err(missing_outcome())));
        let concluded =
            planned.into_iter().zip(outcomes).map(|(it, outcome)| self.conclude_debt(it, outcome));
        join_all(concluded).await.into_iter().collect()
    }

    /// Forgets the lease, unless the ledger did not answer.
    async fn conclude_debt(
        &self,
        unrecorded: &Unrecorded,
        outcome: Result<ChainOutcome, LedgerError>,
    ) -> Result<(), LimiterError> {
        let lease = unrecorded.lease;
        let result = match outcome {
            Ok(outcome) => self.follow_up(unrecorded, outcome).await,
            Err(error) => Err(error.into()),
        };
        match result {
            Err(error) if may_pass(&error) => return Err(error),
            Ok(()) => {}
            Err(error) => {
                if let Some(times) = NOT_RECORDED.count() {
                    tracing::error!(
                        times, lease_id = %lease, error = with_sources(&error),
                        "a lease that was granted without the ledger cannot be recorded; the last of so many"
                    );
                }
            }
        }
        self.emergency.change(|leases| leases.forget(lease));
        Ok(())
    }

    async fn follow_up(&self, unrecorded: &Unrecorded, outcome: ChainOutcome) -> Result<(), LimiterError> {
        let Unrecorded { lease, ref used } = *unrecorded;
        let (mut claim, mut with_pass) = (Claim::FirstLeg, WithPass::Yes);
        let mut result = emergency_debt::interpret(lease, claim, with_pass, outcome)?;
        // Each can be used up once.
        for _ in 0..2 {
            // With a limit in shadow mode, a later attempt may have been granted.
            if result == DebtResult::Denied && self.read_lease(lease).await?.is_some() {
                result = DebtResult::ReadLease;
            }
            match result {
                DebtResult::Denied => claim = Claim::Guard,
                DebtResult::PassWaived => with_pass = WithPass::Waived,
                DebtResult::Recorded | DebtResult::ReadLease => break,
            }
            let Some(chain) = emergency_debt::plan(self.ids, lease, used, claim, with_pass) else { break };
            let outcome = self.ledger.submit_one(chain).await?;
            result = emergency_debt::interpret(lease, claim, with_pass, outcome)?;
        }
        match result {
            DebtResult::Recorded => self.count_recorded(lease),
            DebtResult::ReadLease => self.read_who_was_first(lease).await?,
            DebtResult::Denied | DebtResult::PassWaived => {}
        }
        Ok(())
    }

    /// Another chain took the id of the claim: one of debt like it, or a reserve.
    async fn read_who_was_first(&self, lease: LeaseId) -> Result<(), LimiterError> {
        let Some(command) = self.emergency.lock().reserve(lease) else { return Ok(()) };
        let Some(granted) = self.read_lease(lease).await? else {
            self.count_recorded(lease);
            return Ok(());
        };
        if self.status_of(&granted, &self.look_up(&command)).await? == ReserveOutcome::LeaseConflict {
            if let Some(times) = NOT_RECORDED.count() {
                tracing::warn!(
                    times, lease_id = %lease,
                    "a lease that was granted without the ledger has the id of another lease, so it is not recorded; the last of so many"
                );
            }
            return Ok(());
        }
        // The ledger granted it after all, so it is an ordinary lease.
        if let Some(complete) = self.emergency.change(|leases| leases.completed_or_forget(lease)) {
            self.complete(&complete).await?;
        }
        Ok(())
    }

    fn count_recorded(&self, lease: LeaseId) {
        if self.emergency.change(|leases| leases.forget(lease)) {
            self.emergency.counts.count_recorded();
        }
    }
}

/// Whether the ledger may take the same chain later.
fn may_pass(error: &LimiterError) -> bool {
    match error {
        LimiterError::Ledger(
            LedgerError::Overloaded | LedgerError::Unreachable(_) | LedgerError::ShutDown,
        ) => true,
        LimiterError::Ledger(
            LedgerError::ChainTooLong { .. } | LedgerError::RequestTooLarge | LedgerError::Unexpected(_),
        ) => false,
        LimiterError::Registry(error) => error.is_unreachable(),
    }
}
