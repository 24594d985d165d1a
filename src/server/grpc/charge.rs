//! Reserves what a plan requires: all of it, or nothing if a limit that can deny does.

use super::counts::Outcome;
use super::plan::{Charge, Item, Manner, Plan};
use crate::ledger::Ledger;
use crate::limit::{LeaseId, LimitKey};
use crate::protocol::{CommandOutcome, Reserve, ReserveCommand, ReserveOutcome, RetryAfterSource};
use crate::server::api::{Api, Reject, decide};
use crate::telemetry::Occurrences;

static MISSING_LIMITS: Occurrences = Occurrences::new();

/// How a plan is charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// All charges or none. Charges that are forced come behind the others.
    Take,
    /// All charges or none, in one lease. None is forced: what is used above the reservation is charged when it is settled.
    Reserve,
    /// Nothing is charged: only whether it would be.
    Look,
    /// All charges, whatever is free. The excess is debt.
    Force,
}

/// What became of the charges of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Charged {
    /// The lease that holds them. `None` if nothing is charged.
    pub(super) lease: Option<LeaseId>,
    /// Why nothing is charged, if a limit denied.
    pub(super) denial: Option<Denial>,
    /// The limits that would have denied. Those that their rule does not enforce are not charged; of those in shadow mode the
    /// excess is debt.
    pub(super) would_deny: Vec<LimitKey>,
}

/// Why a limit denied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Denial {
    /// The limit.
    pub(super) key: LimitKey,
    /// The wait before the next attempt, in milliseconds; 0 if a wait does not help.
    pub(super) retry_after_ms: u64,
    /// Whether the amount is known to fit then.
    pub(super) retry_after_source: RetryAfterSource,
    /// The reason, for the metrics.
    pub(super) outcome: Outcome,
}

impl Charged {
    /// Adds what became of other charges of the same plan.
    fn add(&mut self, other: Self) {
        self.lease = self.lease.or(other.lease);
        self.denial = self.denial.take().or(other.denial);
        self.would_deny.extend(other.would_deny);
    }

    /// What became of a descriptor of the plan.
    pub(super) fn outcome(&self, item: &Item) -> Outcome {
        match item {
            Item::NoRule => Outcome::NoRule,
            Item::NoKey { .. } => Outcome::NoKey,
            Item::Limit { key, .. } => match &self.denial {
                Some(denial) if denial.key == *key => denial.outcome,
                _ if self.would_deny.contains(key) => Outcome::WouldDeny,
                Some(_) | None => Outcome::Ok,
            },
        }
    }
}

/// Charges what a plan requires.
pub(super) async fn charge<L: Ledger>(api: &Api<L>, plan: &Plan, mode: Mode) -> Result<Charged, Reject> {
    if plan.is_denied() && mode != Mode::Force {
        return Ok(Charged::default());
    }
    let those = |manners: &[Manner]| -> Vec<Charge> {
        plan.charges.iter().filter(|charge| manners.contains(&charge.manner)).cloned().collect()
    };
    match mode {
        Mode::Take => {
            let mut charged = charge_all(api, those(&[Manner::Take, Manner::Peek]), mode).await?;
            if charged.denial.is_none() {
                charged.add(charge_all(api, those(&[Manner::Force]), Mode::Force).await?);
            }
            Ok(charged)
        }
        // A charge that is forced is not denied for want of room.
        Mode::Look => charge_all(api, those(&[Manner::Take, Manner::Peek]), mode).await,
        Mode::Reserve => charge_all(api, those(&[Manner::Take, Manner::Peek, Manner::Force]), mode).await,
        Mode::Force => charge_all(api, those(&[Manner::Take, Manner::Force]), mode).await,
    }
}

/// Charges under a fresh lease. A limit that would deny, but does not enforce, is left out.
async fn charge_all<L: Ledger>(
    api: &Api<L>,
    mut charges: Vec<Charge>,
    mode: Mode,
) -> Result<Charged, Reject> {
    let mut charged = Charged::default();
    while !charges.is_empty() {
        let lease = LeaseId::generate();
        let denial = match decision(decided(api, lease, &charges, mode).await?)? {
            Ok(would_deny) => {
                charged.lease = Some(lease);
                // A forced charge asks for no decision.
                if mode != Mode::Force {
                    charged.would_deny.extend(would_deny);
                }
                return Ok(charged);
            }
            Err(denial) => denial,
        };
        let Some(index) = charges.iter().position(|charge| charge.requirement.key == denial.key) else {
            return Ok(Charged { denial: Some(denial), ..charged });
        };
        match (charges[index].enforce, mode) {
            (false, Mode::Take | Mode::Reserve | Mode::Look | Mode::Force) => {
                charged.would_deny.push(charges.swap_remove(index).requirement.key);
            }
            // What was used is charged to the other limits all the same.
            (true, Mode::Force) => {
                charges.swap_remove(index);
                charged.denial.get_or_insert(denial);
            }
            (true, Mode::Take | Mode::Reserve | Mode::Look) => {
                return Ok(Charged { denial: Some(denial), ..charged });
            }
        }
    }
    Ok(charged)
}

/// Decides as `POST /v1/reserve` does.
async fn decided<L: Ledger>(
    api: &Api<L>,
    lease: LeaseId,
    charges: &[Charge],
    mode: Mode,
) -> Result<CommandOutcome, Reject> {
    let those = |peeks: bool| charges.iter().filter(move |charge| (charge.manner == Manner::Peek) == peeks);
    let reserve = |charges: &mut dyn Iterator<Item = &Charge>| {
        let requirements = charges.map(|charge| charge.requirement.clone()).collect();
        Reserve::new(lease, String::new(), requirements).map_err(|error| Reject::Invalid(error.to_string()))
    };
    let (takes, peeks) = (those(false).next().is_some(), those(true).next().is_some());
    let command = match mode {
        Mode::Force => ReserveCommand::Force(reserve(&mut charges.iter())?),
        Mode::Take | Mode::Reserve if takes && peeks => {
            ReserveCommand::TakeIfFree { take: reserve(&mut those(false))?, free: reserve(&mut those(true))? }
        }
        Mode::Take | Mode::Reserve if takes => ReserveCommand::Take(reserve(&mut charges.iter())?),
        Mode::Take | Mode::Reserve | Mode::Look => ReserveCommand::Look(reserve(&mut charges.iter())?),
    };
    decide(api, &command).await.map(|decided| decided.outcome)
}

/// The limits in shadow mode that would deny, if everything is reserved or would be. Otherwise why not.
fn decision(outcome: CommandOutcome) -> Result<Result<Box<[LimitKey]>, Denial>, Reject> {
    let outcome = match outcome {
        CommandOutcome::Reserved(outcome) | CommandOutcome::Looked(outcome) => outcome,
        CommandOutcome::LookedFree { would_deny } => return Ok(Ok(would_deny)),
    };
    let estimate = RetryAfterSource::Estimate;
    let denial = |key, retry_after_ms, retry_after_source, outcome| {
        Ok(Err(Denial { key, retry_after_ms, retry_after_source, outcome }))
    };
    match outcome {
        ReserveOutcome::Granted { would_deny, .. } => Ok(Ok(would_deny)),
        ReserveOutcome::NoRoom { key, retry_after_ms, retry_after_source } => {
            denial(key, retry_after_ms, retry_after_source, Outcome::OverLimit)
        }
        ReserveOutcome::Decreasing { key, retry_after_ms } => {
            denial(key, retry_after_ms, estimate, Outcome::OverLimit)
        }
        ReserveOutcome::ExceedsCapacity { key } | ReserveOutcome::TooManyInstances { key } => {
            denial(key, 0, estimate, Outcome::OverLimit)
        }
        ReserveOutcome::UnknownKey { key } => {
            if let Some(times) = MISSING_LIMITS.count() {
                tracing::warn!(times, %key, "a gateway rule names a limit that is not defined; the last of so many times");
            }
            denial(key, 0, estimate, Outcome::NoLimit)
        }
        ReserveOutcome::LeaseConflict | ReserveOutcome::LeaseSettled | ReserveOutcome::LeaseExpired => {
            Err(Reject::Invalid("a fresh lease id was taken; send the request again".to_owned()))
        }
    }
}
